"""A stub, a profile of it, and load runs against it."""

import json
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent

PROFILE = """
[target]
name = "stub"
base_url = "{url}"
allow = ["read", "load"]
control = "control"
timeout_s = {timeout}

[operation.read]
role = "read"
method = "GET"
path = "/read"
public = true

[operation.control]
role = "read"
method = "GET"
path = "/control"
public = true

[credential.anybody]

[load]
principals = ["anybody"]
operations = {{ read = 1 }}
max_rate = 2000
"""


@dataclass
class Stubbed:
    url: str
    folder: Path
    told: dict[str, Any] = field(default_factory=dict)

    def profile(self, timeout=10, more=""):
        path = self.folder / "stub.toml"
        path.write_text(PROFILE.format(url=self.url, timeout=timeout) + more)
        return path

    def load(self, *arguments, timeout=10, more="", within=90, before=None):
        """One load run; gives the finished process, and the content of its load.json (None without).

        `before` is called in the process before anything else."""
        out = self.folder / "out"
        done = subprocess.run(
            [sys.executable, "-m", "openbell", "load", arguments[0], str(self.profile(timeout, more)),
             *map(str, arguments[1:]), "--out", str(out)],
            capture_output=True, text=True, timeout=within, check=False, preexec_fn=before)
        found = sorted(out.glob("*/load.json"))
        return done, json.loads(found[-1].read_text()) if found else None


@contextmanager
def stub(folder, *arguments):
    """A stub; after the block `told` holds what it saw."""
    process = subprocess.Popen([sys.executable, HERE / "stub.py", *map(str, arguments)], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE)
    found = Stubbed(json.loads(process.stdout.readline())["ready"], folder)
    try:
        yield found
    finally:
        process.stdin.close()
        found.told.update(json.loads(process.stdout.readline() or b"{}"))
        process.wait(10)
        process.stdout.close()


def whole(data, metric):
    """The distribution of a metric over all phases and operations of a load.json."""
    from openbell.loadprofiles.tally import Tally
    tally = Tally()
    tally.merge({"histograms": data["histograms"], "counts": []})
    return tally.pick(metric)
