"""Legal behaviours that a naive check would flag, one file per area."""

import sys

from openbell.reference_server.variants import Benign, benign, found_in

__all__ = ["Benign", "all_benign", "benign"]


def all_benign() -> tuple[Benign, ...]:
    """Every benign variant, by name."""
    return found_in(sys.modules[__name__], Benign)
