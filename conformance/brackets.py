"""The bracket around negative probes: the same request unmodified, before and after, must have succeeded."""

from __future__ import annotations

from openbell.events import Exchange, Recording
from openbell.profile import Profile
from openbell.registry import Observation, undecided
from openbell.target import edge_made, outcome


def uncontrolled(recording: Recording, target: Profile) -> Observation | None:
    """Why the probes of a recording prove nothing: no two calls labelled `control`, or one that failed."""
    controls = list(recording.exchanges("control"))
    failed = [e for e in controls if not outcome(target, "ok", e)]
    if failed:
        came = failed[0].no_reply or f"status {failed[0].status}"
        return undecided("control_failed", f"{failed[0].operation} unmodified got {came}", *failed)
    return None if len(controls) > 1 else undecided("control_failed", "the request was not made unmodified", *controls)


def unjudged(exchange: Exchange, target: Profile) -> Observation | None:
    """Why one probe's reply decides nothing: none came, the caller was throttled, or a proxy made it."""
    if exchange.status is None:
        return undecided("no_reply", str(exchange.no_reply), exchange)
    if edge_made(target, exchange):
        return undecided("edge_generated", f"a proxy seems to have made the {exchange.status}", exchange)
    if outcome(target, "throttled", exchange):
        return undecided("shared_quota", "the caller was throttled", exchange)
    return None
