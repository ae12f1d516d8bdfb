"""Whole runs: conforming, judged again, polite, canaries, a deviation that nobody planted."""

import gzip
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import jsonschema
import pytest
from serving import CANARY, HOUSE, checked, events, openbell, reference_server, results, rules, spellings, verdicts

SCHEMA = json.loads((HOUSE / "docs" / "results.schema.json").read_text())


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """One complete run of the conforming server: process, folder, the server's log."""
    folder = tmp_path_factory.mktemp("clean")
    with reference_server("--log", str(folder / "access.log")) as url:
        yield (*checked(url, folder), folder / "access.log")


def test_the_reference_server_conforms_with_nothing_left_out(clean):
    done, run, _ = clean
    assert done.returncode == 0, done.stdout + done.stderr
    found = results(run)
    jsonschema.validate(found, SCHEMA)
    assert found["conforms"] is True
    assert set(verdicts(run).values()) == {"pass"}
    assert len({check for check, _ in verdicts(run)}) == 43


def test_everything_created_is_undone(clean):
    _, run, _ = clean
    facts = Counter(e["name"] for e in events(run, ["fact"]))
    assert facts["made"] == facts["undone"] > 0


def test_judging_again_elsewhere_gives_the_same_bytes(clean, tmp_path):
    _, run, _ = clean
    (tmp_path / "events.jsonl").write_bytes((run / "events.jsonl").read_bytes())
    done = openbell("judge", "events.jsonl", cwd=tmp_path, environment={
        "TZ": "Pacific/Chatham", "PYTHONHASHSEED": "7", "OPENBELL_REFERENCE_SECRET": ""})
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "results.json").read_bytes() == (run / "results.json").read_bytes()
    assert (tmp_path / "report.html").read_bytes() == (run / "report.html").read_bytes()


def test_pytest_judges_the_journal_to_the_same_bytes(clean, tmp_path):
    _, run, _ = clean
    (tmp_path / "events.jsonl").write_bytes((run / "events.jsonl").read_bytes())
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--openbell-journal", "events.jsonl"],
        cwd=tmp_path, text=True, capture_output=True, timeout=120, check=False)
    assert f"{len(results(run)['results'])} passed" in done.stdout, done.stdout + done.stderr
    assert (tmp_path / "results.json").read_bytes() == (run / "results.json").read_bytes()


def issued(log_free_run: Path) -> list[str]:
    """The tokens' placeholders that the run names."""
    return re.findall(r"⟨[a-z_]+\.token#\d+⟩", (log_free_run / "events.jsonl").read_text())


def test_no_secret_is_in_any_file_or_message(clean):
    done, run, _ = clean
    files = {p.name: p.read_bytes() for p in run.rglob("*") if p.is_file()} | {
        "stdout": done.stdout.encode(), "stderr": done.stderr.encode()}
    assert len(files) >= 7
    assert len(set(issued(run))) >= 5
    for name, raw in files.items():
        content = raw + (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else b"")
        leaked = [s for s in spellings(CANARY) if s in content]
        assert not leaked, f"the client secret is in {name}"
        assert not re.search(rb"[Bb]earer [A-Za-z0-9_-]{16,}", content), f"a token is in {name}"
        assert not re.search(rb"access_token\W{1,9}[A-Za-z0-9_-]{16,}", content), f"a token is in {name}"


def test_nothing_that_no_scenario_declared_was_sent(clean):
    _, run, log = clean
    logged = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(logged) == len(events(run))


def test_manners(tmp_path):
    """With --max-rate 8 no second of the server's own log holds more, and the plan is an upper bound by kind."""
    log = tmp_path / "access.log"
    only = ("--only", "AUT-001", "--only", "HTTP-001", "--only", "ERR-007")
    with reference_server("--log", str(log)) as url:
        plan = openbell("check", HOUSE / "profiles/reference.toml", "--base-url", url, *only, "--plan", cwd=tmp_path)
        assert not log.exists() or not log.read_text()
        _, run = checked(url, tmp_path, *only, "--max-rate", "8")
    times = sorted(json.loads(line)["time"] for line in log.read_text().splitlines())
    assert len(times) > 40
    assert all(late - early >= 1 for early, late in zip(times, times[8:], strict=False))
    assert plan.returncode == 0
    planned = {kind: int(count.replace(",", "")) for count, kind in
               re.findall(r"([\d,]+) (?:for )?(read|write|token)s", plan.stdout)}
    sent = Counter("token" if e["operation"] == "issue_token" else
                   "write" if e["method"] in {"POST", "PUT", "PATCH", "DELETE"} else "read" for e in events(run))
    assert planned.keys() == {"read", "write", "token"}, plan.stdout
    assert sent["token"] <= planned["token"]
    assert 0 < sent["read"] <= planned["read"]
    assert 0 < sent["write"] <= planned["write"]


PROXY = r"""
import asyncio, sys
async def pipe(reader, writer, drop):
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            if drop and head.startswith(b"HTTP/1.1 401"):
                head = b"".join(l for l in head.splitlines(True) if not l.lower().startswith(b"x-correlation-id"))
            sizes = (int(l.split(b":")[1]) for l in head.splitlines() if l.lower().startswith(b"content-length"))
            size = next(sizes, 0)
            writer.write(head + await reader.readexactly(size))
            await writer.drain()
            if b"upgrade: websocket" in head.lower():
                while some := await reader.read(65536):
                    writer.write(some)
                    await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()
async def serve(reader, writer):
    up_reader, up_writer = await asyncio.open_connection("127.0.0.1", int(sys.argv[1]))
    await asyncio.gather(pipe(reader, up_writer, False), pipe(up_reader, writer, True))
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()
asyncio.run(main())
"""


def test_a_deviation_that_nobody_planted(tmp_path):
    """Behind a small proxy that drops the correlation header on 401 only."""
    with reference_server() as url:
        port = url.rpartition(":")[2]
        proxy = subprocess.Popen([sys.executable, "-c", PROXY, port], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 stderr=subprocess.DEVNULL)
        try:
            behind = f"http://127.0.0.1:{int(proxy.stdout.readline())}"
            done, run = checked(behind, tmp_path, "--skip", "RL-*", "--skip", "CRD-*")
        finally:
            proxy.stdin.close()
            proxy.wait(10)
            proxy.stdout.close()
    assert done.returncode == 1, done.stdout + done.stderr
    assert rules(run, "COR-001") == {"missing-on-401"}
    red = {check for (check, _), verdict in verdicts(run).items() if verdict not in {"pass", "not-applicable"}}
    assert red == {"COR-001", "FUZ-003"}
    cited = {n for r in results(run)["results"] if r["check"] == "COR-001" for f in r["findings"] for n in f["events"]}
    assert cited
    assert {e["status"] for e in events(run) if e["n"] in cited} == {401}
