"""Shared by all tests."""

import gc

import pytest
from hypothesis import settings
from stand_in import SECRET, Running

pytest_plugins = ["pytester"]

# How long an example takes is the machine's affair.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture
def stand_in(monkeypatch):
    """A small target that answers, with its secret in the environment."""
    monkeypatch.setenv("STAND_IN_SECRET", SECRET)
    with Running() as server:
        yield server


def pytest_sessionfinish() -> None:
    """What the hostile servers of the tests left behind is told before the summary, which stays the last line."""
    gc.collect()
