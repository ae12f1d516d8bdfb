"""Whole load runs against a stub: workers, user files, bad targets, bad input, interruption, a worker that dies."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from stubbed import stub, whole

STEADY = ("steady", "--peak", 60, "--duration", 4, "--slo", "errors < 5%", "--no-scenarios")
LOCUST = Path(sys.executable).with_name("locust")


def outcomes(data):
    found = {}
    for phase in data["phases"].values():
        for outcome, n in phase["by_outcome"].items():
            found[outcome] = found.get(outcome, 0) + n
    return found


def test_one_worker_and_two_execute_the_same_arrivals(tmp_path):
    seen = []
    for workers in (1, 2):
        (folder := tmp_path / str(workers)).mkdir()
        with stub(folder) as target:
            _, data = target.load(*STEADY, "--workers", workers)
        seen.append((data["plan"]["hash"], data["arrivals"]["planned"], data["arrivals"]["finished"],
                     whole(data, "latency").n, target.told["seen"]))
        # The marks of what was started add up to the plan's, or there would be a difference.
        assert data["arrivals"]["differences"] == []
    assert seen[0] == seen[1]
    assert len(set(seen[0][1:])) == 1


@pytest.mark.parametrize(("arguments", "expected"), [
    (("--answer", 500), {"status 500"}), (("--answer", 429), {"throttled"}), (("--close",), {"closed", "reset"})])
def test_a_target_that_answers_nothing_right(tmp_path, arguments, expected):
    with stub(tmp_path, *arguments) as target:
        done, data = target.load(*STEADY)
    assert set(outcomes(data)) <= expected
    assert sum(outcomes(data).values()) == data["arrivals"]["planned"] == data["arrivals"]["finished"]
    throttled = expected == {"throttled"}
    assert done.returncode in ({0, 1, 2} if throttled else {1, 2})
    assert data["verdict"] != ("fail" if throttled else "pass")
    assert "Traceback" not in done.stdout + done.stderr


def test_a_target_that_refuses_connections(tmp_path):
    with stub(tmp_path) as target:
        pass
    done, data = target.load(*STEADY)
    assert set(outcomes(data)) == {"refused"}
    assert done.returncode in {1, 2}
    assert "Traceback" not in done.stdout + done.stderr


def test_a_target_that_never_answers_ends_in_bounded_time_and_all_arrivals_are_accounted_for(tmp_path):
    with stub(tmp_path, "--silent") as target:
        begun = time.monotonic()
        done, data = target.load(*STEADY, "--users", 10, timeout=2, within=60)
    # 4 s of load, 2 s for the timeout and 5 s to drain; then the start of three processes.
    assert time.monotonic() - begun < 45
    found = outcomes(data)
    assert sum(found.values()) == data["arrivals"]["planned"]
    assert set(found) <= {"timeout", "never_started", "unanswered"}
    assert any("found no free user" in d for d in data["arrivals"]["differences"])
    assert done.returncode in {1, 2}
    assert data["verdict"] != "pass"


USERS = """
from locust import FastHttpUser, HttpUser, TaskSet, constant, task

class Fast(FastHttpUser):
    host = "{url}"
    wait_time = constant(1000)
    weight = 3
    @task
    def read(self):
        self.client.get("/fast")

class Slow(HttpUser):
    host = "{url}"
    @task
    class Inner(TaskSet):
        @task
        def read(self):
            self.client.get("/plain")
            self.client.get("/second", name="second")
            self.interrupt()
"""


def test_locust_users_of_both_kinds_run_under_our_arrivals(tmp_path):
    path = tmp_path / "users.py"
    with stub(tmp_path) as target:
        path.write_text(USERS.format(url=target.url))
        done, data = target.load(*STEADY, "--locustfile", path, "--users", 20)
    names = {o["operation"]: o["ok"] for o in data["operations"] if o["phase"] == "steady"}
    assert set(names) == {"/fast", "/plain", "second"}
    assert data["arrivals"]["finished"] == data["arrivals"]["planned"]
    # One arrival is one task: the second request of a task counts beside it and takes no arrival.
    firsts = sum(o["ok"] for o in data["operations"] if o["operation"] != "second")
    seconds = sum(o["ok"] for o in data["operations"] if o["operation"] == "second")
    assert firsts == data["arrivals"]["planned"]
    assert firsts + seconds == target.told["seen"]
    rows = next((tmp_path / "out").glob("*/load_stats.csv")).read_text().splitlines()
    assert rows[0].startswith("Type,Name,Request Count,Failure Count,Median")
    assert f"GET,/fast,{sum(o['ok'] for o in data['operations'] if o['operation'] == '/fast')},0," in "\n".join(rows)
    assert done.returncode in {0, 2}


def test_a_stock_user_file_of_five_lines_under_locust_itself(tmp_path):
    ours = subprocess.run([sys.executable, "-m", "openbell.loadprofiles"], capture_output=True, text=True, check=True)
    (tmp_path / "five.py").write_text("from locust import FastHttpUser, task\nclass Reader(FastHttpUser):\n    @task\n"
                                      "    def read(self):\n        self.client.get('/five')\n")
    with stub(tmp_path) as target:
        done = subprocess.run(
            [LOCUST, "-f", f"{ours.stdout.strip()},five.py", "--headless", "-u", "20", "-r", "20", "-H", target.url,
             "--bell", "steady", "--peak", "40", "--bell-duration", "3", "--bell-out", "out", "--slo", "errors < 5%"],
            cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    data = json.loads(next((tmp_path / "out").glob("*/load.json")).read_text())
    assert {o["operation"] for o in data["operations"]} == {"/five"}
    arrivals = data["arrivals"]
    assert arrivals["planned"] == arrivals["finished"] == target.told["seen"]
    assert "load.html" in done.stdout
    assert done.returncode in {0, 2}


@pytest.mark.parametrize(("arguments", "told"), [
    (("dawn",), "no load profile 'dawn'"),
    (("steady", "--peak", "-5"), "it must be 0 or more"),
    (("steady", "--peak", "inf"), "must be finite"),
    (("steady", "--peak", "0"), "not one arrival"),
    (("steady", "--duration", "0"), "longer than 0 s"),
    (("steady", "--peak", "2001"), "above load.max_rate = 2000"),
    (("steady", "--slo", "opne: p99 < 3ms"), "names the phase 'opne'"),
    (("steady", "--slo", "p99(nothing) < 3ms"), "names the operation 'nothing'"),
    (("steady", "--slo", "quick"), "is no rule"),
    (("steady", "--abort", "quick"), "is no rule"),
    (("steady", "--locustfile", "missing.py"), "is no file"),
    (("steady", "--start-at", "noon"), "is no time"),
    (("reconnect-storm",), "has no stream"),
])
def test_what_cannot_be_offered_is_told_and_nothing_is_sent(tmp_path, arguments, told):
    with stub(tmp_path) as target:
        done, data = target.load(*arguments)
    assert (done.returncode, data, target.told["seen"]) == (3, None, 0)
    assert told in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("more", "told"), [
    ("[slo.steady]\nsteady = ['p99 < 3']\n", "slo.steady.steady.0"),
    ("[slo.noon]\nopen = ['p99 < 3ms']\n", "slo.noon: no such load profile"),
    ("[load.bad]\n", "load.bad: no such member"),
])
def test_a_profile_whose_load_is_wrong(tmp_path, more, told):
    with stub(tmp_path) as target:
        done, data = target.load("steady", more=more)
    assert (done.returncode, data) == (3, None)
    assert told in done.stderr


def test_a_mix_that_names_an_operation_that_the_target_lacks(tmp_path):
    path = Path(__file__).parents[2] / "profiles" / "reference.toml"
    (wrong := tmp_path / "wrong.toml").write_text(path.read_text().replace("operations = { submit_order = 1",
                                                                          "operations = { submit_odrer = 1"))
    done = subprocess.run([sys.executable, "-m", "openbell", "load", "steady", wrong], capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode == 3
    assert "load.operations.submit_odrer: no such operation" in done.stderr
    assert "did you mean 'submit_order'?" in done.stderr


def test_a_plan_sends_nothing_and_a_load_elsewhere_is_asked_for(tmp_path):
    with stub(tmp_path) as target:
        done, _ = target.load("market-open", "--plan")
        assert done.returncode == 0
        assert "arrivals in 20 s" in done.stdout
        far = subprocess.run([sys.executable, "-m", "openbell", "load", "steady", tmp_path / "stub.toml", "--base-url",
                              "http://192.0.2.1"], capture_output=True, text=True, timeout=60, check=False,
                             stdin=subprocess.DEVNULL, env={k: v for k, v in os.environ.items() if k != "CI"})
    assert far.returncode == 3
    assert "needs --yes" in far.stderr
    assert target.told["seen"] == 0


def begun(target, *arguments):
    """A load run under way: at least one of its arrivals was seen to be started."""
    process = subprocess.Popen(
        [sys.executable, "-m", "openbell", "load", "steady", target.profile(), "--peak", "50", "--duration", "60",
         "--slo", "errors < 5%", "--no-scenarios", "--out", target.folder / "out", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while " started, " not in (line := process.stderr.readline()) or " 0 started" in line:
        assert process.poll() is None
    return process


def loaded(folder):
    return json.loads(next((folder / "out").glob("*/load.json")).read_text())


def test_ctrl_c_drains_reports_and_exits_with_130(tmp_path):
    with stub(tmp_path) as target:
        process = begun(target)
        process.send_signal(signal.SIGINT)
        at = time.monotonic()
        out, error = process.communicate(timeout=40)
        took = time.monotonic() - at
    data = loaded(tmp_path)
    assert process.returncode == 130
    # Five seconds to drain, and then the judging and the reports.
    assert took < 25
    assert data["ended_early"] == "interrupted"
    assert 0 < data["arrivals"]["finished"] < data["arrivals"]["planned"]
    assert data["arrivals"]["finished"] == data["arrivals"]["started"] == target.told["seen"]
    assert any("never became due: interrupted" in d for d in data["arrivals"]["differences"])
    assert "Traceback" not in out + error


def test_a_worker_that_dies_is_named_and_what_it_told_is_kept(tmp_path):
    with stub(tmp_path) as target:
        process = begun(target, "--workers", "2", "--duration", "8")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGKILL)
        out, error = process.communicate(timeout=60)
    data = loaded(tmp_path)
    assert any("it died in mid-run" in d for d in data["arrivals"]["differences"])
    assert 0 < data["arrivals"]["finished"] < data["arrivals"]["planned"]
    # Arrivals that nobody started are the generator's fault: no rule passes or fails on them.
    assert (process.returncode, data["verdict"]) == (2, "invalid")
    assert "Traceback" not in out + error


def test_a_full_disk_ends_the_run_and_what_was_measured_is_kept(tmp_path):
    size = 128 * 1024  # the journal's first hundreds of exchanges; load.json is smaller
    with stub(tmp_path) as target:
        done = subprocess.run(
            [sys.executable, "-m", "openbell", "load", "steady", target.profile(), "--peak", "150", "--duration", "20",
             "--no-scenarios", "--sample", "5000", "--out", tmp_path / "out"],
            capture_output=True, text=True, timeout=60, check=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)))
    data = loaded(tmp_path)
    assert done.returncode == 4
    assert "the journal cannot be written" in done.stderr
    assert "the journal cannot be written" in data["ended_early"]
    assert 0 < data["arrivals"]["finished"] < data["arrivals"]["planned"]
    assert "Traceback" not in done.stdout + done.stderr


def test_an_abort_rule_ends_the_run(tmp_path):
    with stub(tmp_path, "--answer", 500) as target:
        done, data = target.load("steady", "--peak", 100, "--duration", 60, "--abort", "errors < 50%", "--slo",
                                 "errors < 5%", "--no-scenarios")
    assert data["ended_early"].startswith("aborted: errors < 50%")
    assert data["arrivals"]["finished"] < data["arrivals"]["planned"] / 2
    assert done.returncode in {1, 2}


def test_no_secret_and_no_traceback_where_the_users_file_is_broken(tmp_path):
    with stub(tmp_path) as target:
        (tmp_path / "users.py").write_text("import nothing_of_that_name\n")
        done, data = target.load(*STEADY, "--locustfile", tmp_path / "users.py")
    assert (done.returncode, data) == (4, None)
    assert "nothing_of_that_name" in done.stderr
    assert "Traceback" not in done.stderr
