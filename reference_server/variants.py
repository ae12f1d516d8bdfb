"""Ways in which a server may differ from the default: defects, which must be caught, and benign variants.

Each is a function from a behaviour to a behaviour that replaces one part, or adds one wrapper around the application.
They are found as attributes of the modules in their folder.
"""

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from types import MappingProxyType, ModuleType
from typing import Any, TypeVar

from openbell.reference_server.behaviour import Behaviour

Apply = Callable[[Behaviour], Behaviour]
Rules = Mapping[str, str | tuple[str, ...]]
Kind = TypeVar("Kind", "Defect", "Benign")


@dataclass(frozen=True)
class Defect:
    """A deliberate violation. catches: the checks that must fail, each with the rules by which.

    also: what else it truly breaks, which is seen only where those checks run, or by chance.
    """

    name: str
    doc: str
    catches: Mapping[str, tuple[str, ...]]
    apply: Apply
    also: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Benign:
    """A legal behaviour that a naive check would flag. checks: those that are tempted."""

    name: str
    doc: str
    checks: tuple[str, ...]
    apply: Apply


def defect(name: str, catches: Rules, also: Rules = MappingProxyType({})) -> Callable[[Apply], Defect]:
    """Names a defect; the function's docstring says what is wrong."""
    return lambda apply: Defect(name, (apply.__doc__ or "").strip(), _several(catches), apply, _several(also))


def _several(rules: Rules) -> dict[str, tuple[str, ...]]:
    return {check: (rule,) if isinstance(rule, str) else rule for check, rule in rules.items()}


def benign(name: str, checks: tuple[str, ...]) -> Callable[[Apply], Benign]:
    """Names a benign variant; the function's docstring says what is unusual, and why it is legal."""
    return lambda apply: Benign(name, (apply.__doc__ or "").strip(), checks, apply)


def with_streams(behaviour: Behaviour, **parts: Any) -> Behaviour:
    """The behaviour with these parts of its streams replaced."""
    return replace(behaviour, streams=replace(behaviour.streams, **parts))


def with_once(behaviour: Behaviour, **parts: Any) -> Behaviour:
    """The behaviour with these parts of its meeting with retries replaced."""
    return replace(behaviour, once=replace(behaviour.once, **parts))


def found_in(package: ModuleType, kind: type[Kind]) -> tuple[Kind, ...]:
    """All of one kind in the modules of a package, by name."""
    modules = [import_module(f"{package.__name__}.{found.name}") for found in pkgutil.iter_modules(package.__path__)]
    values = {value.name: value for module in modules for value in vars(module).values() if isinstance(value, kind)}
    return tuple(values[name] for name in sorted(values))
