"""The reference server is stopped in the middle of the burst: no arrival is lost, and the percentiles are arithmetic's.

From when the server was seen to have stopped until it was let go on, nobody had an answer: whoever was due then took
at least the rest of that time. And nobody waited longer for the server than until it had answered as many as were due
by then: its own access log says when that was. What the generator itself took to read the reply comes on top; it was
late by as much as that in starting something at worst, which it records.
"""

import json
import math
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

from serving import CANARY, PROFILE, SECRET, reference_process, verdicts
from stubbed import whole

from openbell.loading import load
from openbell.loadprofiles.asked import Asked, ready

PEAK, SECONDS, INTO_BURST, STALL = 200.0, 8.0, 0.4, 2.0
USERS = 20  # a tenth of what the stall needs: whoever measured from the sending would not see it
PRECISION = 1.001  # a histogram's three digits


def test_the_reference_server_is_stopped_for_two_seconds_in_mid_burst(tmp_path):
    log = tmp_path / "log.jsonl"
    plan = ready(load(PROFILE), Asked("market-open", PEAK, SECONDS)).offer.plan
    instants = [a.at for a in plan.arrivals()]
    serving = reference_process("--log", str(log), "--token-lifetime", "60")
    with serving as (url, server), offering(tmp_path, url) as run:
        wanted = sum(at < plan.bell + INTO_BURST for at in instants)
        while len(lines(log)) < wanted:
            assert run.poll() is None
            time.sleep(0.01)
        begin, end = stopped(server, STALL)
        out, error = run.communicate(timeout=90)
    folder = next((tmp_path / "out").iterdir())
    data = json.loads((folder / "load.json").read_text())
    journal = lines(folder / "events.jsonl")
    answered = load_lines(lines(log), journal, lines(folder / "cleanup.jsonl"))
    arrivals = data["arrivals"]
    assert arrivals["planned"] == arrivals["started"] == arrivals["finished"] == len(answered) == len(instants)
    assert data["plan"]["hash"] == plan.hash
    rung = next(e["data"] for e in journal if e["kind"] == "fact" and e["name"] == "load_begin")
    assert rung["bell"] < begin
    due = [rung["begin"] + at for at in instants]
    least = sorted(end - d if begin <= d < end else 0.0 for d in due)
    most = sorted(latest(due, answered))
    seen, late = whole(data, "latency"), whole(data, "lag").most
    for part in (0.95, 0.99):
        rank = math.ceil(part * len(due)) - 1
        assert least[rank] - 1e-6 <= seen.percentile(part) <= (most[rank] + late) * PRECISION
    assert sum(p["errors"] + p["throttled"] for p in data["phases"].values()) == 0
    assert "fail" not in verdicts(folder).values()
    assert "Traceback" not in out + error
    slow = [r for r in data["rules"] if r["phase"] == "open" and r["measure"] == "p99"]
    assert all(r["low"] > r["limit"] for r in slow)
    # On a machine that is too busy the generator is unfit, and no rule fails.
    lame = all(r["why"].startswith(("the generator", "worker")) for r in slow)
    assert (run.returncode, data["verdict"]) == ((2, "invalid") if lame else (1, "fail")), error


@contextmanager
def offering(folder, url):
    """The market's open, offered to a server."""
    process = subprocess.Popen(
        [sys.executable, "-m", "openbell", "load", "market-open", PROFILE, "--peak", str(PEAK), "--duration",
         str(SECONDS), "--users", str(USERS), "--no-scenarios", "--base-url", url, "--out", folder / "out"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, SECRET: CANARY})
    with process:
        try:
            yield process
        finally:
            process.kill()


def stopped(process, seconds):
    """Stops a child of ours; from when and until when (monotonic) it surely did nothing."""
    os.kill(process, signal.SIGSTOP)
    try:
        os.waitid(os.P_PID, process, os.WSTOPPED)
        begin = time.monotonic()
        time.sleep(seconds)
        return begin, time.monotonic()
    finally:
        os.kill(process, signal.SIGCONT)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")] if path.exists() else []


def load_lines(log, journal, cleaning):
    """When (monotonic) the server answered what was neither a token, nor sent before the load, nor by the cleaning."""
    shift = time.time() - time.monotonic()
    times = [e["time"] - shift for e in log if e["path"] != "/oauth/token"]
    before, after = (sum(e["kind"] == "exchange" and e["origin"] != "load" and e["operation"] != "issue_token"
                         for e in events) for events in (journal, cleaning))
    return times[before: len(times) - after]


def latest(due, answered):
    """At most how long the server let each wait."""
    found, caught_up = [], answered[-1]
    for i in reversed(range(len(due))):
        if i + 1 == len(due) or due[i + 1] > answered[i]:
            caught_up = answered[i]
        found.append(caught_up - due[i])
    return found
