"""The whole way on a stream that nobody here wrote: five-bells-ledger, which tells of transfers over WebSocket.

It binds every interface, so it and the run live in a network namespace that has a loopback only. What is asserted of it
is confirmed by plain requests.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from real_servers import Namespace, package, shut_in
from serving import CANARY, HOUSE, events, results, rules, verdicts

VERSION = "21.2.5"
PROFILE = HOUSE / "profiles" / "five-bells-ledger.toml"
PORT = "18133"
PASSWORD = "alice-" + CANARY.encode().hex()
RED = {"fail", "warn", "error"}
ASK = f"""
import base64, http.client, json, sys
method, path, user, body = json.loads(sys.argv[1])
fields = {{"Content-Type": "application/json"}}
if user:
    fields["Authorization"] = "Basic " + base64.b64encode(user.encode()).decode()
connection = http.client.HTTPConnection("127.0.0.1", {PORT}, timeout=10)
connection.request(method, path, body, fields)
reply = connection.getresponse()
print(json.dumps([reply.status, reply.getheader("Content-Type"), reply.read().decode()]))
"""


def ask(ledger: Namespace, method: str, path: str, user: str | None = None, body: str | None = None) -> list[Any]:
    """One plain request: status, media type, body."""
    done = ledger.run(sys.executable, "-c", ASK, json.dumps([method, path, user, body]))
    answer: list[Any] = json.loads(done.stdout)
    return answer


@contextmanager
def serving(folder: Path, ping_s: int) -> Iterator[Namespace]:
    """A ledger with an account that pings its clients so often."""
    home = package("five-bells-ledger", VERSION)
    driver = home.parent / "sqlite3" / "build" / "Release" / "node_sqlite3.node"
    if not driver.exists():
        pytest.skip("five-bells-ledger needs sqlite3 5.1.7 with its driver built: see tests/install_real_servers.sh")
    environment = {
        "LEDGER_PORT": PORT, "LEDGER_BIND_IP": "127.0.0.1", "LEDGER_HOSTNAME": "127.0.0.1", "LEDGER_USE_HTTPS": "0",
        "LEDGER_DB_URI": f"sqlite://{folder}/ledger.db", "LEDGER_DB_SYNC": "1", "LEDGER_ADMIN_USER": "admin",
        "LEDGER_ADMIN_PASS": "admin", "LEDGER_WEBSOCKET_PING_INTERVAL": str(ping_s)}
    with shut_in(["node", "src/app.js"], "public at", home, **environment) as ledger:
        account = json.dumps({"name": "alice", "password": PASSWORD, "balance": "20000"})
        assert ask(ledger, "PUT", "/accounts/alice", "admin:admin", account)[0] == 201
        yield ledger


def check(ledger: Namespace, out: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], Path]:
    """`openbell check profiles/five-bells-ledger.toml`, and the run's folder."""
    done = ledger.run(sys.executable, "-m", "openbell", "check", str(PROFILE), "--out", str(out), "--seed", "5",
                      *arguments, FIVE_BELLS_PASSWORD=PASSWORD)
    assert list(out.glob("*/events.jsonl")), done.stdout + done.stderr
    (found,) = out.glob("*/events.jsonl")
    return done, found.parent


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Namespace]:
    """A ledger that pings every second, as its profile says."""
    with serving(tmp_path_factory.mktemp("ledger"), 1) as found:
        yield found


@pytest.fixture(scope="module")
def checked(ledger: Namespace, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A whole run."""
    return check(ledger, tmp_path_factory.mktemp("run"))


def test_its_deviations_are_found_and_nothing_else_is_red(checked: tuple[Any, Path]) -> None:
    done, run = checked
    red = {check for (check, _), verdict in verdicts(run).items() if verdict in RED}
    assert {check: rules(run, check) for check in red} == {
        "ERR-001": {"not-json"}, "ERR-002": {"code-missing"}, "ERR-007": {"schemas-differ"}}
    assert done.returncode == 1


def test_its_stream_keeps_what_it_promises(checked: tuple[Any, Path]) -> None:
    found = {check: verdict for (check, _), verdict in verdicts(checked[1]).items()}
    assert {check for check, verdict in found.items() if verdict == "pass"} == {
        "AUT-001", "AUT-002", "HTTP-011", "WSH-002", "WSH-003"}
    assert {r["check"] for r in results(checked[1])["results"] if r["verdict"] == "inconclusive"} == {
        "COR-001", "COR-002", "RL-003"}
    said = [json.loads(f["payload"]) for f in events(checked[1], ("frame",)) if f["opcode"] == 1]
    assert {"jsonrpc": "2.0", "id": None, "method": "connect"} in said
    assert {"jsonrpc": "2.0", "id": 1, "result": 1} in said


def test_a_ledger_that_pings_less_often_than_the_profile_says_is_late(tmp_path: Path) -> None:
    with serving(tmp_path, 20) as ledger:
        _, run = check(ledger, tmp_path, "--only", "WSH-002", "--only", "WSH-003")
    assert {check: verdict for (check, _), verdict in verdicts(run).items()} == {"WSH-002": "pass", "WSH-003": "fail"}
    assert rules(run, "WSH-003") == {"late"}


def test_its_deviations_show_to_plain_requests(ledger: Namespace) -> None:
    alice = f"alice:{PASSWORD}"
    assert ask(ledger, "GET", "/health") == [401, "text/plain; charset=utf-8", "Unauthorized"]
    assert ask(ledger, "DELETE", "/health", alice)[:2] == [405, "text/plain; charset=utf-8"]
    status, media, body = ask(ledger, "GET", "/nowhere", alice)
    assert (status, media, json.loads(body)["id"]) == (404, "application/json; charset=utf-8", "NotFoundError")


def test_the_password_is_in_no_file(checked: tuple[Any, Path]) -> None:
    done, run = checked
    said = [done.stdout, done.stderr, *(p.read_text() for p in run.iterdir() if p.is_file())]
    assert not [text for text in said if PASSWORD in text]
