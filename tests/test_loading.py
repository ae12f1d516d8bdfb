"""Profiles: every mistake at once, with its path and what would be right; secrets never shown."""

from pathlib import Path
from typing import Any

import pytest

from openbell.loading import ProfileError, load, parse, secrets

REFERENCE = Path(__file__).parents[1] / "profiles" / "reference.toml"

MINIMAL: dict[str, Any] = {
    "target": {"name": "t", "base_url": "http://127.0.0.1:1", "control": "read"},
    "operation": {"read": {"role": "read", "method": "GET", "path": "/x"}},
    "credential": {"full": {"stack": [{"kind": "static", "secret": "env:KEY"}]}},
}
STREAM = {"url": "/s", "sequence": {"at": "/seq", "id": "/meta/id"}}


def changed(path: str, value: object) -> dict[str, Any]:
    data = {k: dict(v) for k, v in MINIMAL.items()}
    table, _, key = path.partition(".")
    data.setdefault(table, {})[key] = value
    return data


def test_the_reference_profile_is_valid():
    assert len(load(REFERENCE).operation) > 10


def test_every_profile_in_the_house_is_valid():
    for path in REFERENCE.parent.glob("*.toml"):
        assert load(path).target.name


def test_four_mistakes_are_told_at_once(tmp_path):
    path = tmp_path / "p.toml"
    path.write_text('[target]\nname = "t"\nbase_url = "ftp://x"\nalow = ["read"]\n'
                    '[promise]\n"pages.noloss" = "promised"\n')
    with pytest.raises(ProfileError) as error:
        load(path)
    told = str(error.value)
    assert "4 mistakes" in told
    assert "target.base_url" in told
    assert "target.alow: no such member\n    did you mean 'allow'?" in told
    assert "promise.pages.noloss: no such promise\n    did you mean 'pages.no_loss'?" in told


@pytest.mark.parametrize(("path", "value", "told"), [
    ("target.control", "raed", "did you mean 'read'?"),
    ("target.environment", "production", None),
    ("operation.x", {"role": "create", "method": "POST", "path": "/x"}, "operation.x.undo"),
    ("operation.x", {"role": "list", "method": "GET", "path": "/x", "page": "p"}, "operation.x.page"),
    ("operation.x", {"role": "read", "method": "get", "path": "x"}, "operation.x.method"),
    ("outcome.throtled", {"status": [429]}, "did you mean 'throttled'?"),
    ("outcome.throttled", {"all": [{"at": "body/x", "equals": 1}]}, "is no locator"),
    ("outcome.throttled", {"all": [{"at": "status"}]}, "has 0 tests"),
    ("outcome.throttled", {"all": [{"at": "status", "matches": "("}]}, "no regular expression"),
    ("credential.full", {"stack": [{"kind": "static", "secret": "hunter2hunter2"}]}, "given by reference"),
    ("credential.full", {"stack": [{"kind": "oauth2", "client_id": "c", "secret": "env:K", "operation": "t"}]},
     "no such operation"),
    ("limit.reads", {"operations": ["no"], "capacity": 1, "per_s": 1, "probe": "read"}, "no such operation: 'no'"),
    ("target.max_rate", float("inf"), "target.max_rate"),
    ("stream.s", STREAM | {"per_delivery": ["/at", "/seq"]}, "stream.s.per_delivery.1: holds '/seq'"),
    ("stream.s", STREAM | {"per_delivery": ["/meta"]}, "holds '/meta/id', which belongs to the event"),
    ("stream.s", STREAM | {"per_delivery": [""]}, "stream.s.per_delivery.0: holds"),
    ("stream.s", STREAM | {"per_delivery": ["sent_at"]}, "stream.s.per_delivery.0"),
])
def test_one_mistake(path, value, told):
    data = changed(path, value)
    if told is None:
        assert parse(data, "p").target.environment == "production"
        return
    with pytest.raises(ProfileError) as error:
        parse(data, "p")
    assert told in str(error.value)
    assert "hunter2" not in str(error.value)


def test_a_production_target_allows_only_what_is_said_twice():
    data = {**MINIMAL, "target": MINIMAL["target"] | {"environment": "production", "allow": ["read", "write"]}}
    with pytest.raises(ProfileError, match="say it twice"):
        parse(data, "p")
    data["target"]["allow_in_production"] = ["write"]
    assert parse(data, "p").target.allow == ("read", "write")


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[target", b"", b"x" * (2 * 1024 * 1024)])
def test_a_file_that_is_no_profile(tmp_path, content):
    path = tmp_path / "p.toml"
    path.write_bytes(content)
    with pytest.raises(ProfileError):
        load(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(ProfileError, match="cannot be read"):
        load(tmp_path / "none.toml")


def with_secret(reference: str):
    return parse({**MINIMAL, "credential": {"full": {"stack": [{"kind": "static", "secret": reference}]}}}, "p")


def test_secrets_come_from_the_environment_or_a_file(tmp_path):
    (tmp_path / "key").write_text("päss word\n")
    assert secrets(with_secret("env:KEY"), {"KEY": "v"}, tmp_path) == {"env:KEY": "v"}
    assert secrets(with_secret("file:key"), {}, tmp_path) == {"file:key": "päss word"}


@pytest.mark.parametrize(("content", "told"), [
    (b"two\nlines-of-hunter2", "control character"), (b"", "is empty"), (b"\xffhunter2", "not UTF-8"),
    (None, "cannot be read")])
def test_a_secret_file_that_cannot_serve_is_told_without_its_value(tmp_path, content, told):
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    with pytest.raises(ProfileError) as error:
        secrets(with_secret("file:key"), {}, tmp_path)
    assert told in str(error.value)
    assert "hunter2" not in str(error.value)


def test_mistakes_of_shape_hide_none_of_reference(tmp_path):
    path = tmp_path / "p.toml"
    path.write_text("""
[target]
name = "t"
base_url = "ftp://x"
control = "nobody"
allow = ["read", "wirte"]

[credential.full]
values = { account = "A" }
stack = [{ kind = "static", secret = "in the clear" }]

[operation.read]
role = "read"
method = "GET"
path = "/a/{acount}"
pages = "x"

[operation.list]
role = "list"
path = "/l"
page = "nope"

[stream.s]
url = "/s"
subscribe = [{ send = { after = "{positon}" } }]
""")
    with pytest.raises(ProfileError) as error:
        load(path)
    assert {p.path for p in error.value.problems} == {
        "target.base_url", "target.control", "target.allow.1", "credential.full.stack.0.secret", "operation.read.pages",
        "operation.read.path", "operation.list.method", "operation.list.page", "stream.s.subscribe"}
    assert "did you mean 'account'?" in str(error.value)
    assert "in the clear" not in str(error.value)


@pytest.mark.parametrize("text", ["[target]\nname = 3", "target = 1", "[operation.Bad-Name]\nrole = 1",
                                  "[operation]\nx = 1", "[page.p]\nend = 3\n[limit.l]\noperations = 3"])
def test_a_shape_that_cannot_be_mended_is_told_alone(tmp_path, text):
    path = tmp_path / "p.toml"
    path.write_text(text)
    with pytest.raises(ProfileError) as error:
        load(path)
    assert error.value.problems
