"""The kill matrix holds, and the recipes of CONTRIBUTING work as they are written."""

import re
import shutil
import subprocess
import sys

import pytest
from serving import HOUSE, openbell

ROOMS = ("src", "conformance", "scenarios", "reports", "reference_server", "profiles")


def test_every_check_is_proved_able_to_fail(tmp_path):
    done = openbell("prove", "--out", "out", cwd=tmp_path, timeout=900)
    assert done.returncode == 0, "\n".join(line for line in done.stdout.splitlines() if not line.startswith("ok"))
    proved = re.search(r"(\d+) of (\d+) checks proved able to fail", done.stdout)
    assert proved
    assert proved[1] == proved[2] == "43"
    assert "Traceback" not in done.stdout + done.stderr


def test_an_unknown_variant_is_told(tmp_path):
    done = openbell("prove", "--only", "no-such-thing", cwd=tmp_path)
    assert done.returncode == 3
    assert "no-such-thing" in done.stderr


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A copy of the house with the files of CONTRIBUTING's recipes in it, as they are printed there."""
    folder = tmp_path_factory.mktemp("house") / "copy"
    folder.mkdir()
    for room in ROOMS:
        shutil.copytree(HOUSE / room, folder / room, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    text = (HOUSE / "CONTRIBUTING.md").read_text()
    recipes = re.findall(r"`([a-z_/]+\.py)`:\n\n```python\n(.*?)```", text, re.DOTALL)
    assert len(recipes) == 3
    for name, code in recipes:
        assert not (folder / name).exists()
        (folder / name).write_text(code)
    return folder


def here(house, *arguments, timeout=120):
    """Runs the copy's own openbell."""
    return subprocess.run([sys.executable, "-m", "openbell", *arguments], cwd=house, text=True, capture_output=True,
                          timeout=timeout, check=False, env={"PYTHONPATH": str(house / "src"), "PATH": "/usr/bin:/bin",
                                                             "PYTHONDONTWRITEBYTECODE": "1"})


def test_a_check_in_one_new_file_is_listed(house):
    assert "HTTP-901" in here(house, "checks").stdout
    shown = here(house, "checks", "HTTP-901").stdout
    assert "Server names no version" in shown
    assert "RFC 9110 10.2.4" in shown


def test_a_scenario_in_one_new_file_is_planned(house):
    done = here(house, "check", "profiles/reference.toml", "--plan")
    assert done.returncode == 0, done.stderr
    assert "three_reads" in done.stdout


def test_a_defect_in_one_new_file_is_caught(house):
    assert "server-version-shown" in here(house, "serve", "--list-defects").stdout
    done = here(house, "prove", "--only", "server-version-shown")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "HTTP-901 by version-shown" in done.stdout
