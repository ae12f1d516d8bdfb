"""The generator has not what it needs: no processor of its own, too few file descriptors."""

import os
import resource
import subprocess
import sys
from contextlib import contextmanager

import pytest
from serving import CANARY, PROFILE, SECRET, reference_server
from stubbed import stub

SPARE = 64
BUSY = "import os\nos.sched_setaffinity(0, {{{}}})\nprint(flush=True)\nwhile True: pass"


@contextmanager
def busy(core, count):
    """Processes that leave nothing of a processor."""
    found = [subprocess.Popen([sys.executable, "-c", BUSY.format(core)], stdout=subprocess.PIPE) for _ in range(count)]
    try:
        for process in found:
            process.stdout.readline()
        yield
    finally:
        for process in found:
            with process:
                process.kill()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no process can be kept on one processor here")
def test_a_generator_whose_processor_others_use_up_decides_nothing(tmp_path):
    core = min(os.sched_getaffinity(0))
    with stub(tmp_path) as target, busy(core, 2):
        done, data = target.load(
            "steady", "--peak", 60, "--duration", 4, "--no-scenarios", "--slo", "p99 < 3000s", "--slo", "errors < 100%",
            "--slo", "max < 1us", before=lambda: os.sched_setaffinity(0, {core}))
    assert [r["verdict"] for r in data["rules"]] == ["invalid"] * 3
    assert all(r["why"].startswith(("the generator", "worker")) for r in data["rules"])
    assert (done.returncode, data["verdict"]) == (2, "invalid")
    arrivals = data["arrivals"]
    assert arrivals["planned"] == arrivals["finished"] == target.told["seen"]
    assert "Traceback" not in done.stdout + done.stderr


def at_most(files):
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))


@pytest.mark.parametrize(("arguments", "needed"), [
    (("--users", 200), 264), (("--users", 200, "--workers", 2), 164), (("--peak", 300), 364)])
def test_too_few_file_descriptors_are_told_before_anything_is_sent(tmp_path, arguments, needed):
    with stub(tmp_path) as target:
        done, data = target.load("steady", *arguments, before=at_most(needed - 1))
    assert (done.returncode, data, target.told["seen"]) == (3, None, 0)
    assert f"a worker needs {needed} file descriptors, the system gives {needed - 1}" in done.stderr
    assert "ulimit -n" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_just_enough_file_descriptors_are_enough_for_every_user_at_once(tmp_path):
    with stub(tmp_path, "--stall", 0, 2) as target:
        done, data = target.load("steady", "--peak", 60, "--duration", 4, "--users", 60, "--no-scenarios", "--slo",
                                 "errors < 5%", before=at_most(60 + SPARE))
    arrivals = data["arrivals"]
    assert arrivals["planned"] == arrivals["finished"] == target.told["seen"]
    assert sum(p["errors"] for p in data["phases"].values()) == 0
    assert max(filter(None, data["series"]["line"])) > 0
    assert done.returncode in {0, 2}
    assert "Traceback" not in done.stdout + done.stderr


def test_streams_need_file_descriptors_too(tmp_path):
    with reference_server("--token-lifetime", "60") as url:
        done = subprocess.run(
            [sys.executable, "-m", "openbell", "load", "reconnect-storm", PROFILE, "--peak", "200", "--base-url", url,
             "--out", tmp_path / "out"], capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path,
            env={**os.environ, SECRET: CANARY}, preexec_fn=at_most(300))
    assert (done.returncode, list(tmp_path.iterdir())) == (3, [])
    assert "a worker needs 464 file descriptors, the system gives 300" in done.stderr
    assert "fewer users and streams" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
