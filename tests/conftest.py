"""Shared by all tests."""

import pytest
from stand_in import SECRET, Running

pytest_plugins = ["pytester"]


@pytest.fixture
def stand_in(monkeypatch):
    """A small target that answers, with its secret in the environment."""
    monkeypatch.setenv("STAND_IN_SECRET", SECRET)
    with Running() as server:
        yield server
