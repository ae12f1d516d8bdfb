"""The whole way on an authorisation server that nobody here wrote: oidc-provider, whose tokens end.

As it comes it serves a token for 15 s beyond the `expires_in` that it told: its `clockTolerance`, which its
documentation names for skewed clocks, counts for its own tokens too. Without that tolerance it conforms.
"""

import http.client
import json
import os
import subprocess
import time
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from real_servers import package
from serving import CANARY, HOUSE, openbell, results, rules, verdicts

VERSION = "9.13.3"
PROFILE = HOUSE / "profiles" / "oidc-provider.toml"
SECRET = "desk-" + CANARY.encode().hex()
RED = {"fail", "warn", "error"}
LIFETIME_S, LEEWAY_S = 5, 1


@contextmanager
def provider(folder: Path, **environment: str) -> Iterator[int]:
    """A provider in a process of its own, by its port."""
    with subprocess.Popen(
            ["node", str(HOUSE / "tests" / "oidc_provider.mjs")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True,
            env={**os.environ, "OIDC_PROVIDER": str(folder / "lib" / "index.js"), "OIDC_SECRET": SECRET,
                 **environment}) as process:
        assert process.stdin
        assert process.stdout
        try:
            yield int(process.stdout.readline())
        finally:
            process.stdin.close()


@dataclass(frozen=True)
class Checked:
    """What came of a run, and of plain requests with one token: seconds since it was asked for, and the status."""

    done: subprocess.CompletedProcess[str]
    run: Path
    by_hand: list[tuple[float, int]]


def ask(port: int, method: str, path: str, body: str | None = None, **fields: str) -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request(method, path, body, fields)
        reply = connection.getresponse()
        return reply.status, reply.read()


def by_hand(port: int) -> list[tuple[float, int]]:
    """One token, used at once and well after its end."""
    asked = time.monotonic()
    basic = "Basic " + b64encode(f"desk:{SECRET}".encode()).decode()
    _, content = ask(port, "POST", "/token", "grant_type=urn:openbell:desk", Authorization=basic,
                     **{"Content-Type": "application/x-www-form-urlencoded"})
    token = json.loads(content)
    assert token["expires_in"] == LIFETIME_S
    seen = []
    for after in (0.0, LIFETIME_S + LEEWAY_S + 2.0):
        time.sleep(max(0.0, asked + after - time.monotonic()))
        seen.append((after, ask(port, "GET", "/me", Authorization=f"Bearer {token['access_token']}")[0]))
    return seen


def checked(folder: Path, package_: Path, **environment: str) -> Checked:
    """`openbell check profiles/oidc-provider.toml`, and plain requests beside it."""
    with provider(package_, **environment) as port, ThreadPoolExecutor(1) as pool:
        hand = pool.submit(by_hand, port)
        done = openbell("check", PROFILE, "--base-url", f"http://127.0.0.1:{port}", "--out", folder, "--seed", "5",
                        cwd=folder, environment={"OIDC_SECRET": SECRET})
        (events,) = folder.glob("*/events.jsonl")
        return Checked(done, events.parent, hand.result())


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Checked]:
    """One run as it comes, one without its tolerance, side by side."""
    folder = package("oidc-provider", VERSION)
    with ThreadPoolExecutor(2) as pool:
        found = {name: pool.submit(checked, tmp_path_factory.mktemp("run"), folder, **environment)
                 for name, environment in (("as it comes", {}), ("exact", {"OIDC_TOLERANCE": "0"}))}
        return {name: one.result() for name, one in found.items()}


def red(run: Checked) -> dict[str, set[str]]:
    return {check: rules(run.run, check) for (check, _), verdict in verdicts(run.run).items() if verdict in RED}


def test_a_token_that_outlives_its_time_is_found_and_nothing_else_is_red(runs: dict[str, Checked]) -> None:
    assert red(runs["as it comes"]) == {"CRD-001": {"outlives-expiry"}}
    assert runs["as it comes"].done.returncode == 1


def test_it_shows_to_plain_requests(runs: dict[str, Checked]) -> None:
    assert [status for _, status in runs["as it comes"].by_hand] == [200, 200]
    assert [status for _, status in runs["exact"].by_hand] == [200, 401]


def test_without_its_tolerance_it_keeps_what_it_promises(runs: dict[str, Checked]) -> None:
    assert red(runs["exact"]) == {}
    passed = {check for (check, _), verdict in verdicts(runs["exact"].run).items() if verdict == "pass"}
    assert passed == {"AUT-001", "AUT-002", "AUT-012", "CRD-001", "HTTP-011"}


def test_what_could_not_be_decided_is_said(runs: dict[str, Checked]) -> None:
    for run in runs.values():
        unseen = {r["check"]: r["reason"] for r in results(run.run)["results"] if r["verdict"] == "inconclusive"}
        assert unseen == {"COR-001": "no_sample", "COR-002": "no_sample", "ERR-007": "no_sample",
                          "HTTP-008": "not_allowed", "RL-003": "no_sample"}
    assert runs["exact"].done.returncode == 2
    assert results(runs["exact"].run)["conforms"] is None


def test_the_secret_is_in_no_file(runs: dict[str, Checked]) -> None:
    for run in runs.values():
        said = [run.done.stdout, run.done.stderr, *(p.read_text() for p in run.run.iterdir() if p.is_file())]
        assert not [text for text in said if SECRET in text]
