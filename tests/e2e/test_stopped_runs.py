"""A run that is killed or interrupted leaves evidence that can be judged, and nothing on the target."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request

import pytest
from serving import CANARY, PROFILE, SECRET, openbell, reference_server

MANY = 12


def open_orders(url: str) -> int:
    """How many open orders the account of the walked pages has, asked of the server itself."""
    form = f"grant_type=client_credentials&client_id=sacrificial_pages&client_secret={urllib.parse.quote(CANARY)}"
    with urllib.request.urlopen(f"{url}/oauth/token", form.encode()) as reply:
        token = json.load(reply)["access_token"]
    asked = urllib.request.Request(f"{url}/v1/accounts/acct-pages/orders?status=open&limit=200",
                                   headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(asked) as reply:
        return len(json.load(reply)["items"])


def until_made(folder, process) -> None:
    """Waits until the run has made some things that it has not undone."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        for journal in folder.glob("*/events.jsonl"):
            text = journal.read_text()
            if text.count('"name":"made"') - text.count('"name":"undone"') >= MANY:
                return
        time.sleep(0.02)
    raise AssertionError("the run made nothing in time")


@pytest.fixture
def stopped(tmp_path):
    """Starts a pagination run; gives a function that stops it by a signal in the middle."""
    with reference_server() as url:
        process = subprocess.Popen(
            [sys.executable, "-m", "openbell", "check", PROFILE, "--base-url", url, "--out", tmp_path,
             "--only", "PAG-*"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=tmp_path,
            env={**os.environ, SECRET: CANARY})

        def stop(how: signal.Signals) -> tuple[int, float, bytes]:
            until_made(tmp_path, process)
            process.send_signal(how)
            began = time.monotonic()
            said, _ = process.communicate(timeout=30)
            return process.returncode, time.monotonic() - began, said
        yield stop, url, tmp_path
        process.kill()
        process.wait()


def test_kill_9_leaves_a_journal_that_can_be_judged_and_cleaned_up(stopped):
    stop, url, folder = stopped
    stop(signal.SIGKILL)
    [run] = [p.parent for p in folder.glob("*/events.jsonl")]
    assert open_orders(url) >= MANY
    judged = openbell("judge", run / "events.jsonl", cwd=folder)
    assert judged.returncode in {1, 2}, judged.stderr
    assert json.loads((run / "results.json").read_text())["torn"]
    cleaned = openbell("cleanup", run, "--base-url", url, cwd=folder)
    assert cleaned.returncode == 0, cleaned.stdout + cleaned.stderr
    assert open_orders(url) == 0
    for path in run.iterdir():
        content = path.read_bytes()
        assert CANARY.encode() not in content
        assert json.dumps(CANARY)[1:-1].encode() not in content
        assert not re.search(rb"[Bb]earer [A-Za-z0-9_-]{16,}", content)
    assert "Traceback" not in judged.stderr + cleaned.stderr


def test_ctrl_c_gives_results_and_leaves_nothing(stopped):
    stop, url, folder = stopped
    code, seconds, said = stop(signal.SIGINT)
    assert code == 130, said
    assert seconds < 12
    [run] = [p.parent for p in folder.glob("*/events.jsonl")]
    found = json.loads((run / "results.json").read_text())
    assert {r["verdict"] for r in found["results"]} <= {"pass", "inconclusive"}
    assert (run / "report.html").exists()
    assert open_orders(url) == 0
    assert b"Traceback" not in said


def test_results_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with reference_server() as url:
        done = openbell("check", PROFILE, "--base-url", url, "--out", tmp_path / "file" / "x", cwd=tmp_path)
    assert done.returncode in {3, 4}
    assert "Traceback" not in done.stderr
    assert done.stderr.strip()
