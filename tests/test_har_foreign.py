"""HAR files as real tools wrote them, judged by the traffic checks.

mitmproxy's come from `mitmdump --set hardump=FILE`, between curl and the reference server. Chromium's is what the
writer of its own DevTools gives, sensitive data included, of a page that fetched. Not a byte of them was changed.
Their secrets and tokens were made for the recording alone.
"""

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
from serving import PROFILE, events, openbell, results, rules, verdicts

DATA = Path(__file__).parent / "data"
CHROMIUM, MITMPROXY, WITHOUT_ID = (
    DATA / name for name in ("chromium-156.har", "mitmproxy-11.har", "mitmproxy-11-no-id-on-401.har"))
TRAFFIC = {"AUT-012", "COR-001", "COR-002", "ERR-001", "ERR-002", "ERR-005", "HTTP-011", "RL-003"}
RED = {"fail", "warn", "error"}


def log(path: Path) -> dict[str, Any]:
    """The recording's log."""
    found: dict[str, Any] = json.loads(path.read_text())["log"]
    return found


def secrets_of(path: Path) -> set[str]:
    """What a recording holds of secrets: credentials as sent, taken apart, and the tokens in replies."""
    text = path.read_text()
    found = set(re.findall(r"access_token\W+([\w-]{20,})", text)) | set(re.findall(r"Bearer ([\w.-]{10,})", text))
    for pair in re.findall(r"Basic ([A-Za-z0-9+/=]{16,})", text):
        found |= {pair, base64.b64decode(pair).decode().partition(":")[2]}
    return found


def judged(folder: Path, *files: Path, target: bool = True) -> tuple[int, str, Path]:
    """`openbell judge FILES`: exit code, what it said, and where it wrote."""
    options = ["--target", str(PROFILE)] if target else []
    done = openbell("judge", *files, *options, "--out", folder / "out", cwd=folder)
    return done.returncode, done.stdout + done.stderr, folder / "out"


def assert_nothing_leaked(run: Path, said: str, *files: Path) -> None:
    """No secret of the recordings stands in what was said or written, nor in another spelling of it."""
    texts = [said, *(p.read_text(errors="replace") for p in run.rglob("*") if p.is_file())]
    secrets = set().union(*map(secrets_of, files))
    assert len(secrets) >= 4
    spellings = {s for value in secrets for s in (value, value.encode().hex(),
                                                  base64.b64encode(value.encode()).decode().rstrip("="))}
    assert not [s for s in spellings for text in texts if s in text]


@pytest.mark.parametrize(("path", "creator"), [
    (CHROMIUM, "WebInspector"), (MITMPROXY, "mitmproxy"), (WITHOUT_ID, "mitmproxy")], ids=lambda p: str(p)[-12:])
def test_the_recordings_are_small_and_another_tools(path: Path, creator: str) -> None:
    assert log(path)["creator"]["name"] == creator
    assert path.stat().st_size < 100 * 1024


def test_a_clean_servers_recordings_pass_every_traffic_check(tmp_path: Path) -> None:
    code, said, run = judged(tmp_path, CHROMIUM, MITMPROXY)
    assert code == 0, said
    assert {check: verdict for (check, _), verdict in verdicts(run).items()} == dict.fromkeys(TRAFFIC, "pass")
    assert results(run)["conforms"] is True
    assert len(events(run)) == len(log(CHROMIUM)["entries"]) + len(log(MITMPROXY)["entries"])
    assert {e["operation"] for e in events(run)} >= {"issue_token", "submit_order", "list_instruments", None}
    assert_nothing_leaked(run, said, CHROMIUM, MITMPROXY)


@pytest.mark.parametrize("path", [CHROMIUM, MITMPROXY], ids=["chromium", "mitmproxy"])
def test_each_alone_is_red_nowhere_and_says_where_it_holds_too_little(tmp_path: Path, path: Path) -> None:
    code, said, run = judged(tmp_path, path)
    found = results(run)["results"]
    assert code == 2, said
    assert {r["verdict"] for r in found} == {"pass", "inconclusive"}
    assert {r["reason"] for r in found if r["verdict"] == "inconclusive"} == {"no_sample"}


def test_an_id_that_is_missing_on_401_is_found(tmp_path: Path) -> None:
    code, said, run = judged(tmp_path, WITHOUT_ID)
    assert code == 1, said
    assert {check for (check, _), verdict in verdicts(run).items() if verdict in RED} == {"COR-001"}
    assert rules(run, "COR-001") == {"missing-on-401"}
    cited = {n for r in results(run)["results"] for f in r["findings"] for n in f["events"]}
    by_number = {e["n"]: e for e in events(run)}
    refused = {n for n, e in by_number.items() if e["status"] == 401}
    assert cited == refused
    assert len(refused) == sum(e["response"]["status"] == 401 for e in log(WITHOUT_ID)["entries"])
    assert_nothing_leaked(run, said, WITHOUT_ID)


@pytest.mark.parametrize("path", [CHROMIUM, WITHOUT_ID], ids=["chromium", "mitmproxy"])
def test_without_a_profile_nothing_is_decided(tmp_path: Path, path: Path) -> None:
    code, said, run = judged(tmp_path, path, target=False)
    assert code == 2, said
    found = set(verdicts(run).values())
    assert "info" in found
    assert found <= {"info", "inconclusive", "not-applicable"}
    assert_nothing_leaked(run, said, path)
