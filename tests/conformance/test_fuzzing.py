import pytest
from made import exchange, fact, profile, recording, said

from openbell.conformance import fuzzing
from openbell.target import Subject

TARGET = profile()
API = Subject("api")
CHECKS = {c.id: c for c in vars(fuzzing).values() if type(c).__name__ == "Check"}
OF = {name: (check, rule) for check, rules in fuzzing.RULES.items() for name, rule in rules.items()}


def judged(check, *events):
    return said(CHECKS[check].judge(recording(*events), TARGET, API))


def found(name, *numbers, operation="GET /v1/status"):
    return fact("fuzz_finding", check=name, operation=operation, title="Title", said="what it  said",
                exchanges=list(numbers))


def counted(name, passed=1, failed=0, exchange_=1):
    return fact("fuzz_check", check=name, operation="GET /v1/status", passed=passed, failed=failed, exchange=exchange_)


@pytest.mark.parametrize("name", OF)
def test_a_finding_breaks_by_the_rule_of_its_check_and_cites_the_exchange(name):
    check, rule = OF[name]
    seen = list(CHECKS[check].judge(recording(exchange("fuzz:coverage", 200), found(name, 1)), TARGET, API))
    assert said(seen) == [rule]
    assert seen[0].events == (1, 2)
    assert seen[0].actual == "Title: what it said"
    others = [judged(other, exchange("fuzz:coverage", 200), found(name, 1)) for other in CHECKS if other != check]
    assert others == [[]] * (len(CHECKS) - 1)


@pytest.mark.parametrize("name", OF)
def test_what_a_check_passed_holds_once_for_an_operation_that_it_did_not_fail(name):
    check, _ = OF[name]
    assert judged(check, exchange("fuzz:fuzzing"), counted(name, passed=7)) == ["holds"]
    assert judged(check, exchange("fuzz:fuzzing"), counted(name, passed=7, failed=1)) == []
    assert judged(check, exchange("fuzz:fuzzing"), counted(name, passed=0, exchange_=None)) == []


@pytest.mark.parametrize("status", [400, 404, 405, 413, 501])
def test_any_refusal_will_do(status):
    for name in ("negative_data_rejection", "unsupported_method", "ignored_auth"):
        assert judged(OF[name][0], exchange("fuzz:coverage", status), found(name, 1)) == ["holds"]


def test_one_of_several_exchanges_that_was_not_refused_is_enough():
    events = (exchange("fuzz:coverage", 401), exchange("fuzz:coverage", 200), found("ignored_auth", 1, 2))
    assert judged("FUZ-006", *events) == ["authentication-ignored"]


def test_501_says_that_a_method_is_not_there_and_is_an_error_for_one_that_the_document_has():
    trace = exchange("fuzz:coverage", 501, method="TRACE")
    assert judged("FUZ-001", trace, found("not_a_server_error", 1)) == ["holds"]
    assert judged("FUZ-001", exchange("fuzz:coverage", 501), found("not_a_server_error", 1)) == ["server-error"]
    assert judged("FUZ-001", exchange("fuzz:coverage", 500, method="TRACE"), found("not_a_server_error", 1)) == [
        "server-error"]


def test_a_limiter_that_answers_decides_nothing():
    throttled = exchange("fuzz:coverage", 429, {"code": "throttled"})
    assert judged("FUZ-002", throttled, found("status_code_conformance", 1)) == ["?shared_quota"]


def test_a_run_that_was_lost_keeps_its_findings_and_decides_nothing_else():
    lost = fact("fuzz_lost", why="its process ended", requests=3)
    assert judged("FUZ-001", lost) == ["?precondition"]
    assert judged("FUZ-001", exchange("fuzz:coverage", 500), found("not_a_server_error", 1), lost) == [
        "server-error", "?precondition"]
