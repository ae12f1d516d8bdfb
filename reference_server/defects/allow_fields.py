"""Allow told without looking (HTTP-001)."""

from dataclasses import replace

from openbell.reference_server.behaviour import Behaviour
from openbell.reference_server.defects import defect


@defect("allow-reads-only", catches={"HTTP-001": "allow-lacks-working"})
def allow_reads_only(behaviour: Behaviour) -> Behaviour:
    """Allow is always GET and HEAD, also where orders are submitted."""
    return replace(behaviour, allow=lambda method, allowed: "GET, HEAD")
