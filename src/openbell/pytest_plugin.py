"""The door from pytest: options, and nothing else until one of them is given."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from openbell.pytest_door import Door

NAME = "openbell-door"


def _rate(text: str) -> float:
    value = float(text)
    if not (value > 0 and math.isfinite(value)):
        raise argparse.ArgumentTypeError(f"{text}: a number of requests per second above 0")
    return value


def _seed(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text}: a whole number, 0 or more")
    return value


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of `openbell check`, as far as pytest has none of its own for them."""
    group = parser.getgroup("openbell", "conformance of a financial API")
    group.addoption("--openbell-target", metavar="PROFILE", help="Check the API that this profile describes.")
    group.addoption("--openbell-base-url", metavar="URL", help="Its address, instead of the profile's base_url.")
    group.addoption("--openbell-only", metavar="ID", action="append", default=[],
                    help="Only these checks (PAG-002, PAG-*). Repeatable.")
    group.addoption("--openbell-out", metavar="DIR", help="Where the run's folder goes (openbell-results).")
    group.addoption("--openbell-seed", metavar="N", type=_seed, help="Seed of all choices (0).")
    group.addoption("--openbell-accepted", metavar="FILE", help="accepted.toml: known deviations.")
    group.addoption("--openbell-max-rate", metavar="N", type=_rate, help="At most N requests in any second.")
    group.addoption("--openbell-journal", metavar="FILE", help="Judge this journal instead of running.")


_NEEDED = ("openbell_target", "openbell_journal")
_OTHERS = ("openbell_base_url", "openbell_only", "openbell_out", "openbell_seed", "openbell_accepted",
           "openbell_max_rate")


def pytest_configure(config: pytest.Config) -> None:
    """Opens the door when a target or a journal is named. Raises UsageError with everything that is wrong."""
    given = {name for name in (*_NEEDED, *_OTHERS) if getattr(config.option, name, None) not in (None, [])}
    if not given:
        return
    if not given & set(_NEEDED):
        raise pytest.UsageError(f"{_option(given)}: needs --openbell-target PROFILE or --openbell-journal FILE")
    if "openbell_journal" in given and (wrong := given - {"openbell_journal", "openbell_only"}):
        raise pytest.UsageError(f"--openbell-journal judges a finished run: it cannot go with {_option(wrong)}")
    if _distributed(config):
        raise pytest.UsageError("openbell does not run under pytest-xdist: one process must keep the rate, the order "
                                "and the journal. Leave out -n (or give -n 0); openbell overlaps its waits by itself.")
    from openbell import pytest_door
    door: Door = pytest_door.opened(config)
    config.pluginmanager.register(door, NAME)


def _option(names: set[str]) -> str:
    return ", ".join("--" + name.replace("_", "-") for name in sorted(names))


def _distributed(config: pytest.Config) -> bool:
    """Whether pytest-xdist spreads the tests over processes, here or above us."""
    option = config.option
    return bool(hasattr(config, "workerinput") or getattr(option, "numprocesses", None) or getattr(option, "tx", None)
                or getattr(option, "dist", "no") not in {"no", None})
