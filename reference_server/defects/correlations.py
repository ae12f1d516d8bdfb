"""Wrong correlation ids (COR-001, COR-002)."""

import uuid
from dataclasses import replace

from openbell.reference_server import problems
from openbell.reference_server.behaviour import Behaviour
from openbell.reference_server.correlation import HEADER, trace_fields
from openbell.reference_server.defects import defect
from openbell.reference_server.values import Fields, Problem, Reply


def missing_on(behaviour: Behaviour, status: int) -> Behaviour:
    """The behaviour without the header on replies of one status."""

    def fields(correlation: str, actual: int) -> Fields:
        return () if actual == status else trace_fields(correlation, actual)

    return replace(behaviour, trace_fields=fields)


@defect("correlation-missing-on-401", catches={"COR-001": "missing-on-401"}, also={"FUZ-003": "fields-violated"})
def missing_on_401(behaviour: Behaviour) -> Behaviour:
    """The header is missing where authentication refuses."""
    return missing_on(behaviour, 401)


@defect("correlation-missing-on-200", catches={"COR-001": "missing-on-200"}, also={"FUZ-003": "fields-violated"})
def missing_on_200(behaviour: Behaviour) -> Behaviour:
    """The header is there on errors only."""
    return missing_on(behaviour, 200)


@defect("correlation-differs", catches={"COR-001": "header-body-differ"})
def header_body_differ(behaviour: Behaviour) -> Behaviour:
    """Header and error body each draw an id of their own."""

    def write(problem: Problem, correlation: str) -> Reply:
        del correlation
        return problems.write_error(problem, str(uuid.uuid4()))

    return replace(behaviour, write_error=write)


@defect("correlation-twice", catches={"COR-001": "two-values"})
def two_values(behaviour: Behaviour) -> Behaviour:
    """Two layers each add the header, with different values."""

    def fields(correlation: str, status: int) -> Fields:
        return (*trace_fields(correlation, status), (HEADER, str(uuid.uuid4())))

    return replace(behaviour, trace_fields=fields)


@defect("correlation-repeated", catches={"COR-002": "repeated"})
def repeated(behaviour: Behaviour) -> Behaviour:
    """The id is drawn once, when the server starts."""
    fixed = str(uuid.uuid4())
    return replace(behaviour, trace=lambda offered: fixed)


@defect("correlation-empty", catches={"COR-002": "empty", "COR-001": "missing-on-200"})
def empty(behaviour: Behaviour) -> Behaviour:
    """The header is empty where nothing went wrong."""

    def fields(correlation: str, status: int) -> Fields:
        return ((HEADER, ""),) if status == 200 else trace_fields(correlation, status)

    return replace(behaviour, trace_fields=fields)
