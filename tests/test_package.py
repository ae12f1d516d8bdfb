"""What users install: one top-level package, whole, from either archive."""

import importlib.util
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import openbell

ROOT = Path(__file__).parents[1]
ROOMS = ("conformance", "scenarios", "loadprofiles", "reports", "reference_server")
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "src", "profiles", *ROOMS)
NOT_SOURCES = shutil.ignore_patterns("__pycache__", "*.egg-info")


def present_rooms() -> list[Path]:
    return [ROOT / room for room in ROOMS if (ROOT / room).is_dir()]


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the source archive and the wheel that was built from it; needs no network."""
    missing = [name for name in ("build", "setuptools") if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"cannot build without {' and '.join(missing)}")
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for path in (ROOT / name for name in SOURCES if (ROOT / name).exists()):
        if path.is_dir():
            shutil.copytree(path, source / path.name, symlinks=True, ignore=NOT_SOURCES)
        else:
            shutil.copy(path, source)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(built), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    return built


@pytest.fixture(scope="session")
def wheel_names(archives: Path) -> set[str]:
    (wheel,) = archives.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_has_one_top_level_name(wheel_names: set[str]) -> None:
    dist_info = f"openbell-{openbell.__version__}.dist-info"
    assert {name.split("/")[0] for name in wheel_names} == {"openbell", dist_info}


def test_the_wheel_holds_every_module(wheel_names: set[str]) -> None:
    roots = [(ROOT / "src/openbell", "openbell"), *((room, f"openbell/{room.name}") for room in present_rooms())]
    expected = {f"{name}/{path.relative_to(root)}" for root, name in roots for path in root.rglob("*.py")}
    assert "openbell/conformance/__init__.py" in expected
    assert expected - wheel_names == set()


def test_the_wheel_holds_types_and_licence(wheel_names: set[str]) -> None:
    dist_info = f"openbell-{openbell.__version__}.dist-info"
    assert {"openbell/py.typed", "openbell/profiles/reference.toml", f"{dist_info}/licenses/LICENSE"} <= wheel_names


def test_the_source_archive_has_files_and_no_links(archives: Path) -> None:
    (path,) = archives.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        members = archive.getmembers()
    assert [member.name for member in members if not (member.isfile() or member.isdir())] == []
    assert f"openbell-{openbell.__version__}/src/openbell/conformance/__init__.py" in {m.name for m in members}


@pytest.mark.parametrize("room", present_rooms(), ids=lambda room: room.name)
def test_every_room_is_linked_into_the_package(room: Path) -> None:
    link = ROOT / "src/openbell" / room.name
    assert link.is_symlink()
    assert link.readlink() == Path("../..") / room.name


def test_no_package_data_is_left_out(wheel_names: set[str]) -> None:
    for room in present_rooms():
        files = (path for path in room.rglob("*") if path.is_file() and path.suffix != ".pyc")
        expected = {f"openbell/{room.name}/{path.relative_to(room)}" for path in files}
        assert expected - wheel_names == set()


def test_the_lock_pins_hashes_and_names_no_host() -> None:
    lines = (ROOT / "requirements/lock.txt").read_text().splitlines()
    assert [line for line in lines if "://" in line or line.startswith(("#", "-"))] == []
    starts = [line for line in lines if not line.startswith(" ")]
    assert starts
    assert [line for line in starts if "==" not in line or not line.endswith("\\")] == []
