"""Our arrivals under Locust's own web page: started there, on one machine or by a master with workers."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
from stubbed import stub

LOCUST = Path(sys.executable).with_name("locust")
BELL = ("--bell", "steady", "--peak", "40", "--bell-duration", "3", "--slo", "errors < 5%")
LONGEST_S = 120
USERS = """
from locust import FastHttpUser, task

class Reader(FastHttpUser):
    @task
    def read(self):
        self.client.get("/read")
"""


@pytest.mark.parametrize("workers", [0, 2], ids=["alone", "a master with two workers"])
def test_arrivals_that_are_started_on_the_page(tmp_path, workers):
    (tmp_path / "users.py").write_text(USERS)
    port, between = free_ports(2)
    page = Page(port)
    kind = ("--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", between) if workers else ()
    with stub(tmp_path) as target, locust(tmp_path, *kind, "--web-host", "127.0.0.1", "--web-port", port) as main:
        page.answers(main)
        with staff(tmp_path, between, workers):
            for number in range(workers):
                until(main, f"{number + 1} workers connected")
            page.starts(target.url)
            said = until(main, "openbell: ")
            assert said.endswith("load.html\n")
            assert page.shows_the_end()["user_count"] == 0
            # The plan is executed once: who starts again is told.
            page.starts(target.url)
            until(main, "openbell: the arrivals are over")
            assert page.shows_the_end()["user_count"] == 0
        assert "<html" in page.get("/")
        main.send_signal(signal.SIGTERM)
        rest = main.communicate(timeout=30)[0]
    data = json.loads(next((tmp_path / "openbell-results").glob("*/load.json")).read_text())
    arrivals = data["arrivals"]
    assert arrivals["planned"] == arrivals["started"] == arrivals["finished"] == target.told["seen"]
    assert arrivals["differences"] == []
    assert data["plan"]["workers"] == max(1, workers)
    assert data["verdict"] in said
    assert main.returncode == {"pass": 0, "fail": 1}.get(data["verdict"], 2)
    assert "Traceback" not in rest


@contextmanager
def locust(folder, *arguments):
    ours = subprocess.run([sys.executable, "-m", "openbell.loadprofiles"], capture_output=True, text=True, check=True)
    process = subprocess.Popen(
        [LOCUST, "-f", f"{ours.stdout.strip()},users.py", *BELL, *map(str, arguments)], cwd=folder, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"})
    last = threading.Timer(LONGEST_S, process.kill)
    last.start()
    with process:
        try:
            yield process
        finally:
            last.cancel()
            process.kill()


@contextmanager
def staff(folder, port, count):
    """Workers of the master at that port."""
    if count == 0:
        yield
        return
    one = ("--worker", "--master-host", "127.0.0.1", "--master-port", port)
    with locust(folder, *one), staff(folder, port, count - 1):
        yield


def until(process, words):
    """The next line of a process with those words."""
    while words not in (line := process.stdout.readline()):
        assert line, f"it ended before it said {words!r}"
    return line


def free_ports(count):
    """Ports that were free a moment ago."""
    found = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in found]
    for s in found:
        s.close()
    return ports


class Page:
    """Locust's page, by its own addresses."""

    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}"

    def get(self, path, **form):
        data = urllib.parse.urlencode(form).encode() if form else None
        with urllib.request.urlopen(self.url + path, data, timeout=30) as reply:
            return reply.read().decode()

    def answers(self, process):
        """Waits until it answers."""
        while process.poll() is None:
            try:
                return self.get("/")
            except OSError:
                time.sleep(0.05)
        raise AssertionError(process.stdout.read())

    def starts(self, host):
        assert json.loads(self.get("/swarm", user_count=20, spawn_rate=20, host=host))["success"]

    def shows_the_end(self):
        """What it shows once the test has stopped."""
        while (shown := json.loads(self.get("/stats/requests")))["state"] != "stopped":
            time.sleep(0.05)
        return shown
