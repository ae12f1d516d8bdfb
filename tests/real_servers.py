"""Where packages of real servers are, which nobody here wrote: installed beforehand by npm, never by a test.

`tests/install_real_servers.sh` puts them into `.real-servers/`, where they are looked for; OPENBELL_REAL_SERVERS names
another folder.
"""

import itertools
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from serving import HOUSE


def package(name: str, version: str) -> Path:
    """The folder of an npm package; the test is skipped where it, in that version, or node is not there."""
    folder = Path(os.environ.get("OPENBELL_REAL_SERVERS") or HOUSE / ".real-servers") / "node_modules" / name
    if not shutil.which("node"):
        pytest.skip(f"{name} needs node, which is not installed")
    about = folder / "package.json"
    found = json.loads(about.read_text())["version"] if about.exists() else None
    if found != version:
        pytest.skip(f"{name} {version} is not in {folder.parent.parent.name}/ ({found or 'nothing'} is): see "
                    "tests/install_real_servers.sh")
    return folder


@dataclass(frozen=True)
class Namespace:
    """A network namespace that has a loopback only, by a process in it."""

    pid: int

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Runs a command in it."""
        return subprocess.run([str(shutil.which("nsenter")), "-t", str(self.pid), "-n", *command], text=True,
                              capture_output=True, timeout=120, check=False, env={**os.environ, **environment})


@contextmanager
def shut_in(command: list[str], up: str, cwd: Path, **environment: str) -> Iterator[Namespace]:
    """Runs a server that binds every interface where there is none but a loopback, until it says that it is up.

    The test is skipped where there can be no such place.
    """
    tools = [shutil.which(tool) for tool in ("unshare", "nsenter", "ip")]
    tried = None if None in tools else subprocess.run([str(tools[0]), "-n", "true"], capture_output=True, check=False)
    if tried is None or tried.returncode:
        pytest.skip(f"{command[-1]} binds every interface: unshare, nsenter and ip, and the right to use them, are "
                    "needed to shut it in")
    inside = 'ip link set lo up && exec "$@"'
    with subprocess.Popen([str(tools[0]), "-n", "sh", "-c", inside, "sh", *command], cwd=cwd, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env={**os.environ, **environment}) as server:
        try:
            assert server.stdout
            reader = threading.Thread(target=server.stdout.read, daemon=True)
            said = list(itertools.takewhile(lambda line: up not in line, server.stdout))
            assert server.poll() is None, "".join(said)[-2000:]
            reader.start()
            yield Namespace(server.pid)
        finally:
            server.terminate()
            server.wait(10)
