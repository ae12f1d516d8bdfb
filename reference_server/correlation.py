"""Every reply has a correlation id: the client's own where it is a UUID, else a fresh one."""

import re
import uuid

from openbell.reference_server.values import Fields

HEADER = "x-correlation-id"
UUID_TEXT = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def trace(offered: str | None) -> str:
    """The reply's correlation id; what the client offers is echoed only when it is a UUID."""
    if offered is not None and UUID_TEXT.fullmatch(offered):
        return offered
    return str(uuid.uuid4())


def trace_fields(correlation: str, status: int) -> Fields:
    """The header fields that carry the id on a reply of that status."""
    del status
    return ((HEADER, correlation),)
