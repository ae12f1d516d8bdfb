"""Deliberate violations, one file per area; each says which checks must catch it, and by which rules."""

import sys

from openbell.reference_server.variants import Defect, defect, found_in

__all__ = ["Defect", "all_defects", "defect"]


def all_defects() -> tuple[Defect, ...]:
    """Every defect, by name."""
    return found_in(sys.modules[__name__], Defect)
