"""The whole way on a server that nobody here wrote: localstripe, a stateful double of the Stripe API.

It binds every interface, so it and the run live in a network namespace that has a loopback only; its port is free
there. What is asserted of it was confirmed by hand, and is confirmed again here by plain requests.
"""

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from serving import HOUSE, results, rules, verdicts

VERSION = "1.15.10"
PROFILE = HOUSE / "profiles" / "localstripe.toml"
PORT = 18101
KEY = "sk_test_1"
LEFT_BY_THE_SERVER = Path(tempfile.gettempdir(), "localstripe.pickle")
UNSHARE, NSENTER, IP = (shutil.which(tool) for tool in ("unshare", "nsenter", "ip"))
RED = {"fail", "warn", "error"}

# What a listing holds before we come: one customer, and from the next second on a hundred more.
HISTORY = """
import base64, json, time, urllib.request
def create():
    key = "Basic " + base64.b64encode(b"{key}:").decode()
    request = urllib.request.Request("{url}", b"description=history", {{"Authorization": key}})
    return json.load(urllib.request.urlopen(request, timeout=10))["created"]
first = create()
while int(time.time()) <= first:
    time.sleep(0.02)
for _ in range(100):
    create()
"""
ASK = """
import http.client, json, sys
method, path, headers = json.loads(sys.argv[1])
connection = http.client.HTTPConnection("127.0.0.1", {port}, timeout=10)
connection.request(method, path, headers=headers)
reply = connection.getresponse()
print(json.dumps([reply.status, dict(reply.getheaders()), reply.read().decode()]))
"""


@dataclass(frozen=True)
class Answer:
    """What a plain request got."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of a page."""
        rows: list[dict[str, Any]] = json.loads(self.text)["data"]
        return rows


@dataclass(frozen=True)
class Namespace:
    """A network namespace with a loopback, and localstripe in it."""

    pid: int

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Runs a command within."""
        return subprocess.run([str(NSENTER), "-t", str(self.pid), "-n", *command], text=True, capture_output=True,
                              timeout=120, check=False, env={**os.environ, **environment})

    def ask(self, path: str, key: str | None = f"{KEY}:", method: str = "GET", raw: str | None = None) -> Answer:
        """One plain request; `raw` is what stands after Basic in place of the encoded key."""
        credentials = raw or (base64.b64encode(key.encode()).decode() if key else None)
        headers = {"Authorization": f"Basic {credentials}"} if credentials else {}
        done = self.run(sys.executable, "-c", ASK.format(port=PORT), json.dumps([method, path, headers]))
        return Answer(*json.loads(done.stdout))

    def customers(self) -> list[str]:
        """The ids of all customers."""
        return [row["id"] for row in self.ask("/v1/customers?limit=1000000").rows]


def why_not_isolated() -> str | None:
    """Why there can be no network namespace; None when there can."""
    if not (UNSHARE and NSENTER and IP):
        return "localstripe binds every interface: unshare, nsenter and ip are needed to shut it in"
    tried = subprocess.run([UNSHARE, "-n", IP, "link", "set", "lo", "up"], capture_output=True, text=True,
                           check=False)
    return f"localstripe binds every interface: {tried.stderr.strip()[:200]}" if tried.returncode else None


@pytest.fixture(scope="module")
def program(request: pytest.FixtureRequest) -> Path:
    """localstripe in a virtual environment of its own, installed once; the test is skipped where it cannot be."""
    if why := why_not_isolated():
        pytest.skip(why)
    given = os.environ.get("OPENBELL_LOCALSTRIPE_VENV")
    folder = Path(given) if given else request.config.cache.mkdir("localstripe") / VERSION
    program = folder / "bin" / "localstripe"
    install = [[sys.executable, "-m", "venv", "--clear", str(folder)],
               [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", f"localstripe=={VERSION}"]]
    for command in [] if program.exists() else install:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            pytest.skip(f"localstripe {VERSION} cannot be installed: {(done.stderr.strip() or '?').splitlines()[-1]}")
    return program


@pytest.fixture(scope="module")
def world(program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Namespace]:
    """localstripe with a history, in its namespace."""
    stood = LEFT_BY_THE_SERVER.exists()
    inside = f"ip link set lo up && exec '{program}' --port {PORT} --from-scratch"
    log = tmp_path_factory.mktemp("localstripe") / "stderr"
    with log.open("w") as stderr, subprocess.Popen(
            [str(UNSHARE), "-n", "sh", "-c", inside], stdout=subprocess.PIPE, stderr=stderr, text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"}) as process:
        try:
            assert process.stdout
            assert any("Running on" in line for line in process.stdout), log.read_text()[-2000:]
            namespace = Namespace(process.pid)
            url = f"http://127.0.0.1:{PORT}/v1/customers"
            made = namespace.run(sys.executable, "-c", HISTORY.format(key=KEY, url=url))
            assert made.returncode == 0, made.stderr
            yield namespace
        finally:
            process.terminate()
    if not stood:
        LEFT_BY_THE_SERVER.unlink(missing_ok=True)


@dataclass(frozen=True)
class Checked:
    """A run that came to its end, and the customers before and after it."""

    done: subprocess.CompletedProcess[str]
    run: Path
    before: list[str]
    after: list[str]


@pytest.fixture(scope="module")
def checked(world: Namespace, tmp_path_factory: pytest.TempPathFactory) -> Checked:
    """`openbell check profiles/localstripe.toml`."""
    out = tmp_path_factory.mktemp("run")
    before = world.customers()
    done = world.run(sys.executable, "-m", "openbell", "check", str(PROFILE), "--out", str(out), "--seed", "5",
                     LOCALSTRIPE_KEY=KEY)
    assert done.returncode == 1, done.stdout + done.stderr
    (events,) = out.glob("*/events.jsonl")
    return Checked(done, events.parent, before, world.customers())


DEVIATIONS = {
    "AUT-001": {"challenge-missing"},
    "AUT-002": {"bad-token-accepted", "server-error"},
    "COR-001": {f"missing-on-{status}" for status in (200, 400, 401, 404, 405, 500)},
    "ERR-001": {"not-json"},
    "ERR-002": {"code-missing", "message-missing", "correlation-missing"},
    "ERR-007": {"schemas-differ"},
    "PAG-004": {"order-broken"},
    "PAG-010": {"over-maximum"},
}


def test_its_deviations_are_found_and_nothing_else_is_red(checked: Checked) -> None:
    red = {check for (check, _), verdict in verdicts(checked.run).items() if verdict in RED}
    assert {check: rules(checked.run, check) for check in red} == DEVIATIONS


def test_what_it_keeps_is_passed_and_what_cannot_be_seen_is_said(checked: Checked) -> None:
    found = {check: verdict for (check, _), verdict in verdicts(checked.run).items()}
    assert {check for check, verdict in found.items() if verdict == "pass"} == {
        "HTTP-008", "HTTP-011", "PAG-001", "PAG-002", "PAG-003"}
    (unseen,) = (r for r in results(checked.run)["results"] if r["verdict"] == "inconclusive")
    assert (unseen["check"], unseen["reason"]) == ("COR-002", "no_sample")
    assert results(checked.run)["conforms"] is False


def test_what_the_run_creates_is_undone(checked: Checked) -> None:
    assert checked.after == checked.before
    facts = [json.loads(line) for line in (checked.run / "events.jsonl").read_text().splitlines()]
    assert sum(fact.get("name") == "intent" for fact in facts) > 100


def test_the_key_is_in_no_file(checked: Checked) -> None:
    encoded = base64.b64encode(f"{KEY}:".encode()).decode()
    said = [checked.done.stdout, checked.done.stderr, *(p.read_text() for p in checked.run.iterdir() if p.is_file())]
    assert not [text for text in said if KEY in text or encoded in text]


def _as_json(answer: Answer) -> Any:
    try:
        return json.loads(answer.text)
    except ValueError:
        return None


BY_HAND: list[tuple[str, Callable[[Namespace], bool]]] = [
    ("AUT-001", lambda w: w.ask("/v1/customers", key=None).status == 401
     and "WWW-Authenticate" not in w.ask("/v1/customers", key=None).headers),
    ("AUT-002 bad-token-accepted", lambda w: w.ask("/v1/customers", key="sk_that_nobody_issued:").status == 200),
    ("AUT-002 server-error", lambda w: w.ask("/v1/customers", raw="abcd1234ABCD99zz").status == 500),
    ("COR-001", lambda w: not any("Request-Id" in w.ask(path).headers for path in ("/v1/customers", "/v1/x"))),
    ("ERR-001 ERR-002 code-missing", lambda w: _as_json(w.ask("/v1/x")) is None
     and _as_json(w.ask("/v1/customers", method="PUT")) is None),
    ("ERR-002 message-missing", lambda w: _as_json(w.ask("/v1/customers", key=None))["error"] == {
        "message": "Unauthorized", "type": "invalid_request_error"}),
    ("ERR-007", lambda w: w.ask("/v1/x").headers["Content-Type"].startswith("text/plain")
     and w.ask("/v1/customers/x").headers["Content-Type"].startswith("application/json")),
    ("PAG-004", lambda w: w.ask("/v1/customers?limit=1").rows[0]["created"]
     < w.ask("/v1/customers?limit=2").rows[1]["created"]),
    ("PAG-010", lambda w: len(w.ask("/v1/customers?limit=101").rows) == 101),
]


@pytest.mark.parametrize("shown", [pytest.param(shown, id=name.replace(" ", "-")) for name, shown in BY_HAND])
def test_each_deviation_shows_to_plain_requests(world: Namespace, shown: Callable[[Namespace], bool]) -> None:
    assert shown(world)
