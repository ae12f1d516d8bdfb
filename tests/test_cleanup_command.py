"""`openbell cleanup`: at the address of the run, by its profile, from wherever it is called."""

import json
import shutil
from pathlib import Path

import pytest
from serving import openbell
from stand_in import SECRET, Running
from test_cleaning import act, creating

from openbell.loading import load
from openbell.run import beside

SECRETS = {"STAND_IN_SECRET": SECRET}


@pytest.fixture
def other():
    with Running() as server:
        server.cancel_answers = 200
        yield server


@pytest.fixture
def place(tmp_path):
    path = tmp_path / "place"
    path.mkdir()
    return path


async def killed(place: Path, stand_in, profile: str, count: int = 3) -> Path:
    """What a run with --base-url leaves that was killed; its profile names `profile`'s own address."""
    (place / "stand-in.toml").write_text(profile)
    run = place / "openbell-results" / "run"
    run.mkdir(parents=True)
    await act(run, load(place / "stand-in.toml", stand_in.base), creating(count))
    whole = (run / "events.jsonl").read_bytes()
    (run / "events.jsonl").write_bytes(whole[:-9])
    stand_in.requests.clear()
    return run


def cleanup(run, *arguments, cwd, environment=SECRETS):
    done = openbell("cleanup", run, *arguments, cwd=cwd, environment=environment)
    assert "Traceback" not in done.stdout + done.stderr
    return done


async def test_what_a_run_made_elsewhere_is_undone_there_and_nowhere_else(stand_in, other, place):
    run = await killed(place, stand_in, other.profile)
    done = cleanup(run, cwd=place)
    assert (done.returncode, stand_in.orders, other.requests) == (0, {}, []), done.stdout + done.stderr
    assert f"cleaning up at {stand_in.base}" in done.stdout
    assert "3 undone, 0 left" in done.stdout


async def test_another_address_than_the_runs_is_refused(stand_in, other, place):
    run = await killed(place, stand_in, stand_in.profile)
    done = cleanup(run, "--base-url", other.base, cwd=place)
    assert done.returncode == 3
    assert f"--base-url: the run went to {stand_in.base}, not to {other.base}" in done.stderr
    assert (stand_in.requests, other.requests) == ([], [])
    assert cleanup(run, "--base-url", stand_in.base + "/", cwd=place).returncode == 0
    assert stand_in.orders == {}


async def test_a_profile_that_was_changed_since_changes_nothing(stand_in, other, place):
    run = await killed(place, stand_in, stand_in.profile)
    (place / "stand-in.toml").write_text(other.profile.replace('undo = "cancel_order"', 'undo = "read_order"'))
    done = cleanup(run, "--target", place / "stand-in.toml", cwd=place)
    assert (done.returncode, stand_in.orders, other.requests) == (0, {}, []), done.stdout + done.stderr


async def test_from_another_folder_and_without_the_profile(stand_in, place, tmp_path):
    run = await killed(place, stand_in, stand_in.profile)
    (place / "stand-in.toml").unlink()
    done = cleanup(run, cwd=tmp_path)
    assert (done.returncode, stand_in.orders) == (0, {}), done.stdout + done.stderr


def by_file(stand_in):
    return stand_in.profile.replace("env:STAND_IN_SECRET", "file:full.secret")


async def run_with_a_file(place, stand_in):
    """A real run whose secret is in a file, and which made something."""
    (place / "stand-in.toml").write_text(by_file(stand_in))
    (place / "full.secret").write_text(SECRET)
    openbell("check", "stand-in.toml", "--only", "COR-001", cwd=place)
    [run] = (place / "openbell-results").iterdir()
    lines = (run / "events.jsonl").read_text().splitlines(keepends=True)
    kept = [line for line in lines if '"name":"undone"' not in line and '"kind":"footer"' not in line]
    (run / "events.jsonl").write_text("".join(kept))
    return run


async def test_secret_files_are_found_from_another_folder_also_when_all_has_moved(stand_in, place, tmp_path):
    run = await run_with_a_file(place, stand_in)
    assert str(tmp_path) not in (run / "events.jsonl").read_text()
    assert json.loads((run / "events.jsonl").read_text().partition("\n")[0])["beside"] == "../.."
    done = cleanup(run, cwd=tmp_path, environment={})
    assert "not there, 0 left" in done.stdout, done.stdout + done.stderr
    shutil.move(place, tmp_path / "moved")
    assert cleanup(tmp_path / "moved" / "openbell-results" / run.name, cwd=tmp_path, environment={}).returncode == 0


async def test_a_secret_file_that_is_not_there_is_told_with_what_helps(stand_in, place, tmp_path):
    run = await run_with_a_file(place, stand_in)
    shutil.move(run, tmp_path / "alone")
    done = cleanup(tmp_path / "alone", cwd=tmp_path, environment={})
    assert done.returncode == 3
    assert "the secret file full.secret cannot be read" in done.stderr
    assert "--target" in done.stderr
    done = cleanup(tmp_path / "alone", "--target", place / "stand-in.toml", cwd=tmp_path, environment={})
    assert done.returncode == 0, done.stdout + done.stderr


def test_only_a_run_with_secret_files_tells_where_they_are(stand_in, place):
    path = place / "stand-in.toml"
    path.write_text(stand_in.profile)
    assert beside(load(path), str(path), place / "a" / "b") == ""
    path.write_text(by_file(stand_in))
    assert beside(load(path), str(path), place / "a" / "b") == "../.."
