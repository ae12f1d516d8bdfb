"""Keys in a header of their own: what is tried with them, and what is said of a server that compares them badly."""

import pytest
from aiohttp import web
from serving import listening

from openbell.api import Api
from openbell.conformance.authentication import bad_tokens_refused, no_secret_in_url
from openbell.events import Exchange, Recording
from openbell.journal import Header, Journal, read
from openbell.loading import load
from openbell.redact import Redactor
from openbell.scenarios.bad_credentials import bad_tokens
from openbell.session import Session
from openbell.target import Subject

KEY = "dEskKey-71c0-full"
API = Subject("api")
PROFILE = """
[target]
name = "keys"
base_url = "BASE"
max_rate = 5000
control = "read_status"

[credential.full]
stack = [{ kind = "static", header = "X-Desk-Key", template = "{secret}", secret = "env:KEY" }]

[operation.read_status]
role = "read"
method = "GET"
path = "/status"
"""


def query(name):
    return lambda shown, request, key: key in (shown, request.query.get(name))


COMPARES = {
    "wholly": lambda shown, _, key: shown == key,
    "without case": lambda shown, _, key: shown.lower() == key.lower(),
    "the beginning of it": lambda shown, _, key: len(shown) > 12 and key.startswith(shown),
    "its own beginning": lambda shown, _, key: shown.startswith(key),
    "its own end": lambda shown, _, key: shown.endswith(key),
    "not at all": lambda *_: True,
    **{f"?{name}": query(name) for name in ("X-Desk-Key", "desk_key", "key", "api_key", "apikey")},
}


def serving(compares, key):
    async def answer(request):
        good = compares(request.headers.get("X-Desk-Key", ""), request, key)
        return web.json_response({}, status=200 if good else 401)

    return listening(answer)


async def tried(folder, compares, key=KEY):
    """What the two checks say after the story, and the lines of its journal."""
    async with serving(compares, key) as base:
        (folder / "target.toml").write_text(PROFILE.replace("BASE", base))
        target, redactor = load(folder / "target.toml"), Redactor()
        journal = Journal(folder / "events.jsonl", Header("0", "run", "2026-01-01T00:00:00+00:00", 0, "t", {}),
                          redactor.gate)
        session = Session(target, {"env:KEY": key}, journal, redactor, 500, 0)
        try:
            await bad_tokens.run(Api(session, "bad_tokens@api", bad_tokens.cost(target, API)), target, API)
        finally:
            await session.close_lines()
            journal.close()
    events, memory = tuple(read(folder / "events.jsonl")), {}
    judged = list(bad_tokens_refused.judge(Recording(events), target, API))
    for one in events:
        judged += no_secret_in_url.traffic(one, target, memory) if isinstance(one, Exchange) else ()
    return judged, (folder / "events.jsonl").read_text()


def broken(judged):
    return {(o.rule, o.expected.split()[1] if o.rule == "bad-token-accepted" else o.actual.split()[-1])
            for o in judged if o.state == "broken"}


@pytest.mark.parametrize(("compares", "found"), [
    ("wholly", set()),
    ("without case", {("bad-token-accepted", "case")}),
    ("the beginning of it", {("bad-token-accepted", "shortened")}),
    ("its own beginning", {("bad-token-accepted", "extended")}),
    ("its own end", {("bad-token-accepted", "prefixed")}),
    *((name, {("query-token-accepted", name[1:])}) for name in COMPARES if name.startswith("?")),
])
async def test_each_way_of_reading_a_key_is_found(tmp_path, compares, found):
    judged, lines = await tried(tmp_path, COMPARES[compares])
    assert broken(judged) == found
    assert KEY.lower() not in lines.lower()


async def test_who_serves_everybody_accepts_no_key_in_the_query(tmp_path):
    judged, _ = await tried(tmp_path, COMPARES["not at all"])
    assert {rule for rule, _ in broken(judged)} == {"bad-token-accepted"}
    assert {o.reason for o in judged if o.state == "undecided"} == {"precondition"}


async def test_a_key_without_letters_has_no_other_case(tmp_path):
    judged, _ = await tried(tmp_path, COMPARES["without case"], "0123456789-0123")
    assert broken(judged) == set()
    assert [o.actual for o in judged if o.state == "undecided"] == ["the change (case) makes no other credential"]


async def test_a_key_too_short_to_be_masked_goes_only_where_its_name_is(tmp_path):
    judged, lines = await tried(tmp_path, COMPARES["wholly"], "k3y-19")
    assert broken(judged) == set()
    assert "=k3y-19" not in lines
    assert "?api_key=" in lines
    assert "?desk_key=" not in lines
