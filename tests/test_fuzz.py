"""Fuzzing from end to end: the document, the budget, the interlock, and a child that does what it likes."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from openbell import fuzz
from openbell.journal import read
from openbell.loading import ProfileError, parse
from openbell.run import Options, run
from openbell.scenarios.fuzzing import schema_fuzzing

KEY = "canary-" + os.urandom(8).hex()
ITEM = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 5}}, "required": ["name"]}
OK = {"200": {"description": "ok", "content": {"application/json": {"schema": {"type": "object"}}}},
      "400": {"description": "bad"}, "401": {"description": "no"}}
BODY = {"required": True, "content": {"application/json": {"schema": ITEM}}}
DOCUMENT = {
    "openapi": "3.1.0", "info": {"title": "t", "version": "1"},
    "security": [{"key": []}], "components": {"securitySchemes": {"key": {"type": "oauth2", "flows": {}}}},
    "paths": {"/items": {"get": {"responses": OK, "parameters": [
        {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1}}]},
        "post": {"responses": OK, "requestBody": BODY}},
        "/items/{id}": {"delete": {"responses": OK, "parameters": [
            {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}]}}}}


def profile(url, **changes):
    """A small target; `allow` and members of [fuzz] can be changed."""
    allow = changes.pop("allow", ["read", "write"])
    return parse({
        "target": {"name": "small", "base_url": url, "allow": allow, "openapi": "/openapi.json", "control": "items",
                   "max_rate": 1000, "timeout_s": 2},
        "credential": {"fuzz": {"stack": [{"kind": "static", "secret": "env:KEY"}]}},
        "operation": {"items": {"role": "list", "method": "GET", "path": "/items"},
                      "make": {"role": "create", "method": "POST", "path": "/items", "undo": "unmake", "id": "/id"},
                      "unmake": {"role": "cancel", "method": "DELETE", "path": "/items/{id}"}},
        "fuzz": {"principal": "fuzz", "budget": 40, "max_rate": 1000, **changes}}, "small.toml")


class Small:
    """A small API that validates nothing and keeps what it was asked."""

    def __init__(self, document):
        self.document, self.asked = document, []

    async def answer(self, request):
        if request.path == "/openapi.json":
            text = self.document if isinstance(self.document, str) else json.dumps(self.document)
            return web.Response(text=text, status=200 if text else 404, content_type="application/json")
        self.asked.append((request.method, request.path, request.headers.get("Authorization")))
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return web.json_response({}, status=401)
        return web.json_response({"id": f"n{len(self.asked)}"})


async def fuzzed(document, folder, **changes):
    """One run against the small API; gives the API, the events and the results."""
    small = Small(document)
    app = web.Application(client_max_size=0)
    app.router.add_route("*", "/{rest:.*}", small.answer)
    async with TestServer(app) as server:
        target = profile(str(server.make_url("")).rstrip("/"), **changes)
        options = Options(only=("FUZ*",), folder=folder, scenarios=(schema_fuzzing,), seed=changes.pop("seed", 0))
        done = await run(target, "small.toml", {"env:KEY": KEY}, options)
    return small, list(read(folder / "events.jsonl")), {r.check: r for r in done.results.results}


def folders():
    return set(Path(tempfile.gettempdir()).glob("openbell-fuzz-*"))


def facts(events, name):
    return [e.data for e in events if getattr(e, "name", None) == name]


def sent(events):
    return [e for e in events if getattr(e, "label", "").startswith("fuzz:")]


@pytest.mark.parametrize("budget", [1, 7, 40])
async def test_the_budget_is_exact_and_everything_that_was_sent_is_an_exchange(tmp_path, budget):
    small, events, _ = await fuzzed(DOCUMENT, tmp_path, budget=budget)
    own = [(e.method, e.url.partition("?")[0].split("/", 3)[3]) for e in sent(events)]
    undone = [e for e in events if getattr(e, "label", "") == "undo"]
    assert len(own) == budget
    assert len(small.asked) == budget + len(undone)
    assert {e.origin for e in sent(events)} == {"fuzz"}
    assert facts(events, "fuzz_end")[0]["requests"] == budget
    assert len(facts(events, "undone")) == len(facts(events, "made")) == len(undone)


async def test_findings_have_ids_rules_and_exchanges(tmp_path):
    _, events, results = await fuzzed(DOCUMENT, tmp_path, budget=120)
    assert results["FUZ-004"].verdict == "info"
    numbers = {n for f in results["FUZ-004"].findings for n in f.events}
    assert {f.rule for f in results["FUZ-004"].findings} == {"invalid-accepted"}
    assert any(e.n in numbers and e.status == 200 for e in sent(events))


async def test_the_same_seed_asks_the_same(tmp_path):
    runs = []
    for name in "ab":
        (tmp_path / name).mkdir()
        small, _, _ = await fuzzed(DOCUMENT, tmp_path / name)
        runs.append([(m, p) for m, p, _ in small.asked if m != "DELETE"])
    assert runs[0] == runs[1]


async def test_without_the_permission_to_write_nothing_is_written(tmp_path):
    small, events, _ = await fuzzed(DOCUMENT, tmp_path, allow=["read"])
    assert {m for m, _, _ in small.asked} <= {"GET", "TRACE"}
    assert set(facts(events, "fuzz_ready")[0]["left_out"]) == {"POST /items", "DELETE /items/{id}"}


async def test_what_the_profile_excludes_is_never_called(tmp_path):
    small, events, _ = await fuzzed(DOCUMENT, tmp_path, exclude=["make", "unmake"])
    assert {m for m, _, _ in small.asked} <= {"GET", "TRACE", "PATCH"}
    assert facts(events, "fuzz_ready")[0]["chosen"] == 1


async def test_the_path_of_the_document_s_server_is_kept(tmp_path):
    small, _, _ = await fuzzed({**DOCUMENT, "servers": [{"url": "https://elsewhere.test/v2/"}]}, tmp_path, budget=8)
    assert {p.split("/")[1] for _, p, _ in small.asked} <= {"v2"}


BOMB = "openapi: 3.1.0\na0: &a0 [x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
CIRCULAR = {"openapi": "3.1.0", "info": {"title": "t", "version": "1"}, "paths": {
    "/items": {"$ref": "#/paths/~1items"}}}


@pytest.mark.parametrize(("document", "why"), [
    ("", "status 404"), ("{", "neither JSON nor YAML"), ("[1]", "not an object"), (BOMB, "aliases"),
    ("x" * 50_000_000, "larger"), ({**DOCUMENT, "paths": {}}, "no operation"), (CIRCULAR, "cannot be used"),
    ({**DOCUMENT, "openapi": "9.9"}, "cannot be used"),
], ids=["absent", "broken", "list", "bomb", "huge", "empty", "circular", "version"])
async def test_a_document_that_cannot_be_used_leaves_it_undecided_and_says_why(tmp_path, document, why):
    began = time.monotonic()
    small, events, results = await fuzzed(document, tmp_path)
    assert small.asked == []
    assert {r.reason for r in results.values()} == {"precondition"}
    assert why in facts(events, "skipped")[0]["why"]
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(("code", "why"), [
    ("raise SystemExit(1)", "process ended"), ("import time; time.sleep(600)", "said nothing"),
    ("print('no json', flush=True)", "cannot be understood"), ("print('[1]', flush=True)", "cannot be understood"),
    ("print('x' * 40_000_000, flush=True)", "cannot be understood"),
])
async def test_a_child_that_does_not_do_its_work_is_told_and_ended(tmp_path, monkeypatch, code, why):
    lost, events, results = await with_child(tmp_path, monkeypatch, code)
    assert lost == []
    assert why in facts(events, "skipped")[0]["why"]
    assert {r.reason for r in results.values()} == {"precondition"}


ASK = """
import json, sys
start = json.loads(sys.stdin.readline())
def say(**line): print(json.dumps(line), flush=True)
def ask(method, path, host=start["base_url"]):
    say(did="ask", method=method, url=host + path, headers=list(start["headers"].items()), content="", phase="p")
    return json.loads(sys.stdin.readline())
"""


async def with_child(folder, monkeypatch, code):
    """A run with another child; gives what was sent, the events and the results."""
    (folder / "odd_child.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setattr(fuzz, "MODULE", "odd_child")
    monkeypatch.setattr(fuzz, "SILENT_S", 2.0)
    (folder / "run").mkdir()
    _, events, results = await fuzzed(DOCUMENT, folder / "run")
    return sent(events), events, results


async def test_a_child_that_dies_leaves_what_was_recorded_and_what_was_found(tmp_path, monkeypatch):
    code = ASK + """
n = ask('GET', '/items')['n']
say(did='found', check='not_a_server_error', operation='GET /items', title='t', said='s', exchanges=[n])
"""
    kept, events, results = await with_child(tmp_path, monkeypatch, code)
    assert [e.status for e in kept] == [200]
    assert facts(events, "fuzz_lost")[0]["requests"] == 1
    assert results["FUZ-001"].verdict == "info"
    assert (results["FUZ-002"].verdict, results["FUZ-002"].reason) == ("inconclusive", "precondition")


async def test_no_child_gets_more_than_its_budget_or_to_another_host(tmp_path, monkeypatch):
    code = ASK + ("answers = [ask('GET', '/', 'http://127.0.0.1:9'), ask('POST', '/items', 'https://elsewhere.test')]\n"
                  "answers += [ask('GET', '/items') for _ in range(60)]\n"
                  "say(did='trouble', about='x', said=json.dumps([a.get('withheld', a.get('stop', 'sent')) "
                  "for a in answers]))\nsay(did='end', checks=[], stop='', phases={})\n")
    kept, events, _ = await with_child(tmp_path, monkeypatch, code)
    told = json.loads(facts(events, "fuzz_trouble")[0]["said"])
    assert len(kept) == 40
    assert all("neither the target's" in word for word in told[:2])
    assert told[2:] == ["sent"] * 40 + ["budget"] * 20
    assert facts(events, "fuzz_end")[0]["withheld"] == 2


async def test_the_child_knows_no_secret_and_leaves_no_file(tmp_path, monkeypatch):
    before = folders()
    monkeypatch.setenv("KEY", KEY)
    code = ASK + ("import os\nask('GET', '/items')\nopen(" + repr(str(tmp_path / "seen")) + ", 'w').write("
                  "repr((sys.argv, dict(os.environ), start)))\nsay(did='end', checks=[], stop='', phases={})\n")
    kept, _, _ = await with_child(tmp_path, monkeypatch, code)
    assert [e.status for e in kept] == [200]
    assert KEY not in (tmp_path / "seen").read_text()
    assert KEY not in (tmp_path / "run" / "events.jsonl").read_text()
    assert folders() <= before


async def test_a_run_that_is_ended_ends_the_child(tmp_path, monkeypatch):
    pid = tmp_path / "pid"
    (tmp_path / "odd_child.py").write_text(
        f"import os, time\nopen({str(pid)!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(fuzz, "MODULE", "odd_child")
    monkeypatch.setattr(fuzz, "END_S", 0.1)
    (tmp_path / "run").mkdir()
    _, events, _ = await fuzzed(DOCUMENT, tmp_path / "run", max_s=2.0)
    assert "not done within 2 s" in facts(events, "skipped")[0]["why"]
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_a_profile_is_told_what_its_fuzzing_lacks():
    with pytest.raises(ProfileError) as caught:
        profile("http://127.0.0.1:1", principal="nobody", exclude=["nothing"])
    assert {"fuzz.principal", "fuzz.exclude.0"} == {p.path for p in caught.value.problems}


async def test_a_document_with_little_to_ask_ends_before_its_budget_and_says_so(tmp_path):
    one = {**DOCUMENT, "paths": {"/items": {"get": {"responses": OK}}}}
    _, events, _ = await fuzzed(one, tmp_path, budget=10_000)
    end = facts(events, "fuzz_end")[0]
    assert 0 < end["requests"] == len(sent(events)) < 10_000
    assert end["stop"] == "nothing more to send"


def test_what_the_child_tells_hypothesis_of_utf8_is_true():
    from openbell.fuzz_child import UTF8
    written = [i for i in range(0x110000) if not 0xD800 <= i <= 0xDFFF]
    assert [i for low, high in UTF8 for i in range(low, high + 1)] == written
    assert all(chr(i).encode().decode() == chr(i) for i in written)


@pytest.mark.parametrize("line", [b"", json.dumps({
    "document": json.dumps(DOCUMENT), "base_url": "http://127.0.0.1:9", "seed": 0, "budget": 9, "headers": {},
    "parameters": {}, "safe": True, "left_out": [], "max_s": 9}).encode() + b"\n"], ids=["at once", "while it asks"])
def test_a_child_whose_parent_was_killed_ends_and_removes_its_folder(tmp_path, line):
    folder = tmp_path / "openbell-fuzz-x"
    folder.mkdir()
    done = subprocess.run([sys.executable, "-P", "-m", "openbell.fuzz_child"], input=line, cwd=folder,
                          capture_output=True, timeout=30, check=False,
                          env={**os.environ, "HYPOTHESIS_STORAGE_DIRECTORY": str(folder)})
    assert (done.returncode, done.stderr, folder.exists()) == (0, b"", False)
