"""Which fields a profile itself names as secret: the headers of credentials, the members of messages that log in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from openbell.profile import Profile, Stream

TOKEN = "{token}"  # noqa: S105 - what stands for it in a template


def header_names(target: Profile) -> frozenset[str]:
    """The headers in which a principal's credentials are sent, in lower case."""
    return frozenset(step.header.lower() for c in target.credential.values() for step in c.stack)


def token_members(stream: Stream) -> frozenset[str]:
    """The members that hold the token in what the scripts of a stream send."""
    turns = (*stream.login, *stream.subscribe, *stream.resubscribe)
    return frozenset(name for turn in turns for name in _holding(turn.send, ""))


def _holding(template: Any, name: str) -> Iterator[str]:
    if isinstance(template, dict):
        for key, value in template.items():
            yield from _holding(value, key)
    elif isinstance(template, list | tuple):
        for value in template:
            yield from _holding(value, name)
    elif isinstance(template, str) and TOKEN in template:
        yield name
