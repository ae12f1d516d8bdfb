"""What Schemathesis finds, by the check of its own that found it; its findings are facts, the exchanges show them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from openbell.events import Exchange, Fact, Recording
from openbell.profile import Profile
from openbell.registry import MUST, Check, Observation, broken, check, holds, undecided
from openbell.scenarios.fuzzing import described, schema_fuzzing
from openbell.target import Subject, outcome

OPENAPI = "OpenAPI 3.1, 4.8.16: the responses that are known"

# Schemathesis' checks, and the rule that each one's finding goes by.
RULES: Mapping[str, Mapping[str, str]] = {
    "FUZ-001": {"not_a_server_error": "server-error"},
    "FUZ-002": {"status_code_conformance": "undocumented-status"},
    "FUZ-003": {"content_type_conformance": "undocumented-media-type",
                "response_headers_conformance": "fields-violated", "response_schema_conformance": "schema-violated"},
    "FUZ-004": {"negative_data_rejection": "invalid-accepted", "missing_required_header": "missing-field-accepted"},
    "FUZ-005": {"unsupported_method": "method-accepted"},
    "FUZ-006": {"ignored_auth": "authentication-ignored"},
}
# Where any refusal will do: Schemathesis asks for certain statuses, the conventions do not.
REFUSING = frozenset({"FUZ-004", "FUZ-005", "FUZ-006"})


def _judged(check_id: str) -> Callable[[Recording, Profile, Subject], Iterator[Observation]]:
    """What one group of Schemathesis' checks saw."""
    rules = RULES[check_id]

    def judge(recording: Recording, target: Profile, _subject: Subject) -> Iterator[Observation]:
        exchanges = {e.n: e for e in recording if isinstance(e, Exchange)}
        for finding in recording.facts("fuzz_finding"):
            if rule := rules.get(str(finding.data["check"])):
                yield _found(rule, finding, exchanges, target, refusing=check_id in REFUSING)
        for lost in recording.facts("fuzz_lost"):
            yield undecided("precondition", f"fuzzing did not come to its end: {lost.data['why']}", lost)
        for counted in recording.facts("fuzz_check"):
            if counted.data["check"] in rules and counted.data["passed"] and not counted.data["failed"]:
                shown = exchanges.get(counted.data["exchange"] or 0)
                yield holds(*([shown] if shown else []), counted)
    return judge


def _found(rule: str, finding: Fact, exchanges: Mapping[int, Exchange], target: Profile, *, refusing: bool,
           ) -> Observation:
    """A finding with its exchanges; a limiter that answers instead of the API decides nothing."""
    shown = [exchanges[n] for n in finding.data["exchanges"] if n in exchanges]
    if any(outcome(target, "throttled", e) for e in shown):
        return undecided("shared_quota", "the limiter answered", *shown, finding)
    if shown and all(_refused(e, finding, refusing=refusing) for e in shown):
        return holds(*shown, finding)
    if refusing and any((e.status or 0) >= 500 for e in shown):
        return undecided("precondition", "the server failed where it had to refuse", *shown, finding)
    said = " ".join(str(finding.data["said"]).split())
    return broken(rule, f"{finding.data['operation']}: what the document says", f"{finding.data['title']}: {said}",
                  *shown, finding)


def _refused(exchange: Exchange, finding: Fact, *, refusing: bool) -> bool:
    """Whether a reply is a refusal that will do; for a method that the document does not have, 501 is one."""
    own = str(finding.data["operation"]).partition(" ")[0] == exchange.method
    refused = refusing and 400 <= (exchange.status or 0) < 500
    return refused or (exchange.status == 501 and (refusing or not own))


def _check(check_id: str, title: str, promise: str, doc: str, remedy: str, sources: tuple[str, ...],
           ) -> Check:
    judge = _judged(check_id)
    judge.__doc__ = doc
    return check(check_id, title=title, level=MUST, per="api", promise=promise, evidence=(schema_fuzzing,), minimum=1,
                 where=described, sources=sources, remedy=remedy)(judge)


server_error = _check(
    "FUZ-001", "No input makes the server fail", "fuzz.no_server_error",
    "No request drawn from the OpenAPI document, valid or not, is answered with a 5xx.",
    "Validate before use; let no input reach code that can fail on it.",
    ("RFC 9110, 15.6: the 5xx class says that the server has erred",))
documented_status = _check(
    "FUZ-002", "Every status that is used is documented", "fuzz.documented_status",
    "Each reply's status is among those that the document gives for its operation.",
    "Add the status to the operation's responses, or stop sending it.", (OPENAPI,))
documented_reply = _check(
    "FUZ-003", "Replies are as documented", "fuzz.documented_reply",
    "Media type, header fields and content of each reply fit what the document says of its status.",
    "Write the document from the same models that write the replies.", (OPENAPI,))
invalid_refused = _check(
    "FUZ-004", "What the document forbids is refused", "fuzz.invalid_refused",
    "A request that violates the document's schemas, or lacks a required field, is refused with a 4xx.",
    "Validate requests against the document's own schemas.", ("RFC 9110, 15.5: the 4xx class is for wrong requests",))
methods = _check(
    "FUZ-005", "Methods that are not documented are refused", "fuzz.methods",
    "A method that the document does not have for a path is refused.",
    "Answer 405 for methods that a resource does not have.", ("RFC 9110, 15.5.6: 405 Method Not Allowed",))
authentication = _check(
    "FUZ-006", "A protected operation needs valid credentials", "fuzz.authentication",
    "An operation that the document protects refuses requests without credentials, and with invalid ones.",
    "Put the authentication before the routing of protected operations.", ("RFC 9110, 15.5.2: 401 Unauthorized",))
