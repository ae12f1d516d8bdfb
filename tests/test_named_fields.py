"""What a profile itself names as secret is masked by its field: short secrets live, any secret in foreign traffic."""

import json

import pytest
from aiohttp import web
from serving import listening
from test_static_keys import PROFILE, tried

from openbell.api import Api
from openbell.har import to_journal
from openbell.journal import Header, Journal
from openbell.loading import load
from openbell.named import header_names, token_members
from openbell.redact import Redactor
from openbell.registry import Cost
from openbell.session import Session

SHORT = "zQ7x1w"
LONG = "q8Zr2-long-key-of-35-characters-x7w"
STREAM = """
[stream.tickets]
url = "/stream"
auth = "message"
principal = "full"
login = [{ send = { cmd = "auth", deep = [{ "clé" = "Key {token}" }], key = "{token}", monkey = "{cmd}" } }]
subscribe = [{ send = { cmd = "join", key = "{account}" } }]
"""
VALUES = '[credential.full]\nvalues = { account = "A1", cmd = "banana" }\n'


@pytest.fixture
def redactor():
    made = Redactor()
    made.heed({"x-desk-key", "token"})
    return made


@pytest.mark.parametrize("name", [b"X-Desk-Key", b"x-desk-key", b"Token"])
def test_a_named_header_is_masked_in_any_case(redactor, name):
    [(kept, value)] = redactor.headers(((name, SHORT.encode()),))
    assert (kept, value) == (name, f"⟨redacted.{name.decode().lower()}⟩".encode())


def test_an_echo_of_a_named_header_is_masked(redactor):
    assert redactor.data(b'{"headers":{"X-Desk-Key":"zQ7x1w","Host":"x"}}') == (
        '{"headers":{"X-Desk-Key":"⟨redacted.x-desk-key⟩","Host":"x"}}'.encode())
    assert redactor.url("http://x/a?x-desk-key=zQ7x1w&b=1") == "http://x/a?x-desk-key=⟨redacted.x-desk-key⟩&b=1"


def test_a_bare_word_names_a_header_alone(redactor):
    body = b'{"token":"DOGE","next_page_token":"7"}'
    assert redactor.data(body) == body
    assert redactor.url("http://x/a?token=DOGE") == "http://x/a?token=DOGE"


def test_a_nameless_header_does_no_harm():
    made = Redactor()
    made.heed({""})
    assert made.data(b'{"a":"b"}') == b'{"a":"b"}'


def test_a_known_secret_keeps_its_placeholder(redactor):
    placeholder = redactor.learn(LONG, "full", "secret")
    assert redactor.headers(((b"X-Desk-Key", LONG.encode()),)) == ((b"X-Desk-Key", placeholder.encode()),)
    assert redactor.sent(f'{{"key":"{LONG}"}}'.encode(), ("key",)) == f'{{"key":"{placeholder}"}}'.encode()


@pytest.mark.parametrize("key", [SHORT, LONG])
async def test_no_key_stands_in_the_journal_of_a_run(tmp_path, key):
    _, journal = await tried(tmp_path, lambda shown, _request, given: shown == given, key)
    assert journal.count("X-Desk-Key") > 5
    assert key not in journal


@pytest.mark.parametrize("key", [SHORT, LONG])
def test_no_key_stands_in_the_journal_of_foreign_traffic(tmp_path, key):
    (tmp_path / "target.toml").write_text(PROFILE.replace("BASE", "http://desk.example"))
    echo = json.dumps({"headers": {"x-desk-key": key}})
    pair = {"name": "x-desk-KEY", "value": key}
    entries = [{"startedDateTime": "2026-01-01T00:00:00Z", "time": 1,
                "request": {"method": "GET", "url": f"http://desk.example/status?X-Desk-Key={key}", "headers": [pair]},
                "response": {"status": 200, "headers": [], "content": {"text": echo, "size": len(echo)}}}]
    (tmp_path / "t.har").write_text(json.dumps({"log": {"entries": entries}}))
    target = load(tmp_path / "target.toml")
    journal = to_journal([tmp_path / "t.har"], target, (), tmp_path / "out").read_text()
    assert "x-desk-KEY" in journal
    assert key not in journal


def streaming(heard):
    async def serve(request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        heard.extend([json.loads((await socket.receive()).data) for _ in range(2)])
        await socket.send_json({"key": "A1"})
        await socket.close()
        return socket

    return listening(serve)


async def test_a_short_secret_in_a_login_message_is_masked_by_its_members(tmp_path):
    heard = []
    async with streaming(heard) as base:
        (tmp_path / "t.toml").write_text(PROFILE.replace("BASE", base).replace("[credential.full]\n", VALUES) + STREAM)
        target, redactor = load(tmp_path / "t.toml"), Redactor()
        journal = Journal(tmp_path / "events.jsonl", Header("0", "run", "2026-01-01T00:00:00+00:00", 0, "t", {}),
                          redactor.gate)
        session = Session(target, {"env:KEY": SHORT}, journal, redactor, 500)
        try:
            stream = await Api(session, "s@api", Cost(reads=9)).stream("tickets", by="full", label="s")
            await stream.enter()
            assert await stream.message(lambda _: True, 5)
        finally:
            await session.close_lines()
            journal.close()
    assert heard[0]["deep"] == [{"clé": f"Key {SHORT}"}]
    written = (tmp_path / "events.jsonl").read_text()
    assert SHORT not in written
    assert "banana" in written, "a name that ends like a member that is masked is none"
    assert r'\"key\":\"A1\"' in written.replace(" ", ""), "what the server says is not its secret"


def test_what_a_profile_names(tmp_path):
    (tmp_path / "t.toml").write_text(
        PROFILE.replace("BASE", "http://x").replace("[credential.full]\n", VALUES) + STREAM)
    target = load(tmp_path / "t.toml")
    assert header_names(target) == {"x-desk-key"}
    assert token_members(target.stream["tickets"]) == {"key", "clé"}
