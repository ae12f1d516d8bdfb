"""Legal ways of judging credentials."""

from dataclasses import replace

from openbell.reference_server import problems
from openbell.reference_server.behaviour import Behaviour
from openbell.reference_server.benign import benign
from openbell.reference_server.values import Problem, Reply

LEEWAY_S = 10.0


@benign("expiry-leeway", checks=("CRD-001",))
def expiry_leeway(behaviour: Behaviour) -> Behaviour:
    """A token is accepted until ten seconds after its end, for the sake of clocks that differ."""
    return replace(behaviour, expired=lambda grant, now, scope: now >= grant.expires + LEEWAY_S)


@benign("forbidden-as-404", checks=("ERR-007", "HTTP-008"))
def forbidden_as_404(behaviour: Behaviour) -> Behaviour:
    """What a client may not do does not exist for it; there is no 403 (RFC 9110 section 15.5.4)."""

    def write(problem: Problem, correlation: str) -> Reply:
        hidden = replace(problem, code="not_found") if problem.code == "forbidden" else problem
        return problems.write_error(hidden, correlation)

    return replace(behaviour, write_error=write)
