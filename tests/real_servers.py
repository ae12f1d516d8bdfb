"""Where packages of real servers are, which nobody here wrote: installed beforehand by npm, never by a test.

`npm install --prefix .real-servers NAME@VERSION` puts them where they are looked for; OPENBELL_REAL_SERVERS names
another folder.
"""

import json
import os
import shutil
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
                    "tests/real_servers.py")
    return folder
