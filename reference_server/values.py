"""The small values that the parts hand to each other: fields, replies, problems, and who may raise them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Fields = tuple[tuple[str, str], ...]
Json = Any
Scope = Mapping[str, Any]


@dataclass(frozen=True)
class Reply:
    """A whole reply before it is sent: status, header fields in order, content bytes."""

    status: int
    fields: Fields
    content: bytes = b""


@dataclass(frozen=True)
class Fault:
    """One invalid member or parameter: JSON pointer (or ?name) and what is wrong with it."""

    pointer: str
    message: str


@dataclass(frozen=True)
class Problem:
    """What went wrong, before it is written: a code of `problems.KINDS`, a sentence, invalid members, more fields."""

    code: str
    detail: str = ""
    faults: tuple[Fault, ...] = ()
    fields: Fields = field(default=())
    status: int | None = None


class Refused(Exception):
    """Ends the work on a request; the problem is the reply."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.code)
        self.problem = problem


def refuse(code: str, detail: str = "", *faults: Fault, status: int | None = None) -> Refused:
    """The exception for one problem; to be raised by the caller."""
    return Refused(Problem(code, detail, tuple(faults), status=status))


def header(scope: Scope, name: bytes) -> str | None:
    """The first field of that lower-case name, decoded as Latin-1; None where there is none."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), None)
