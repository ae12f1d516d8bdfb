"""docs/faults.md names every fault as it is called."""

import inspect
from typing import get_args

import pytest
from serving import HOUSE

from openbell.faults import Fault, kind, parameters, route

TEXT = (HOUSE / "docs" / "faults.md").read_text()


def _called(fault: type) -> str:
    given = inspect.signature(fault).parameters.values()
    shown = [p.name if p.default is p.empty else f"{p.name}={p.default!r}".replace("'", '"') for p in given]
    return f"`{fault.__name__}({', '.join(shown)})`"


@pytest.mark.parametrize("fault", get_args(Fault))
def test_every_fault_is_documented_as_it_is_called(fault):
    assert f"| {_called(fault)} |" in TEXT


@pytest.mark.parametrize("fault", get_args(Fault))
def test_every_fault_is_frozen_and_told_whole(fault):
    needed = {p.name: 1 for p in inspect.signature(fault).parameters.values() if p.default is p.empty}
    made = fault(**needed)
    assert made == fault(**needed)
    with pytest.raises(AttributeError):
        made.times = 2
    assert kind(made) == fault.__name__
    assert parameters(made).keys() == inspect.signature(fault).parameters.keys()
    assert route(made) in {"relay", "proxy"}
