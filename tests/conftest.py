"""Shared by all tests."""

import sys
from pathlib import Path

import pytest

from tests.stand_in import SECRET, Running

# Helpers of several folders of tests, such as made.py, are imported by their bare names.
sys.path.insert(0, str(Path(__file__).parent))

pytest_plugins = ["pytester"]


@pytest.fixture
def stand_in(monkeypatch):
    """A small target that answers, with its secret in the environment."""
    monkeypatch.setenv("STAND_IN_SECRET", SECRET)
    with Running() as server:
        yield server
