"""HTTP used as it is defined: methods, invalid input, status codes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from openbell.conformance.brackets import uncontrolled, unjudged
from openbell.events import Exchange, Fact, Message, Recording
from openbell.locate import parse_json
from openbell.profile import Profile
from openbell.registry import MUST, Observation, broken, check, holds, traffic_check, undecided
from openbell.scenarios.invalid_input import invalid_bodies, invalid_queries
from openbell.scenarios.methods import declared, odd_methods, odd_writes, plain
from openbell.target import Subject, edge_made, media_type, outcome

# --- HTTP-001


@check("HTTP-001", title="405 carries Allow, and Allow is truthful", level=MUST, per="api", promise="http.methods",
       evidence=(odd_methods, odd_writes), minimum=2,
       sources=("RFC 9110, 15.5.6: a 405 carries Allow; 10.2.1: an empty Allow is legal",
                "RFC 9110, 9.1: a known method that is not allowed gets 405, an unknown one 501"),
       remedy="Let the router write Allow from the same table that it dispatches by.")
def truthful_allow(recording: Recording, target: Profile, _subject: Subject) -> Iterator[Observation]:
    """An undocumented method is refused; a 405 lists what works and nothing that it refuses. 404 and 501 will do."""
    for name in dict.fromkeys(e.operation for e in recording.exchanges()):
        here = Recording(tuple(e for e in recording.exchanges() if e.operation == name))
        if failed := uncontrolled(here, target):
            yield failed
            continue
        probes = list(here.exchanges("method"))
        refused = {e.method for e in probes if e.status == 405}
        works = {e.method for e in here.exchanges("control")} | (_declared(target, name) - refused)
        for probe in probes:
            yield from _method(probe, target, refused, works)


def _declared(target: Profile, name: str | None) -> frozenset[str]:
    """The methods that the profile declares on an operation's path."""
    op = target.operation.get(name or "")
    return declared(target, plain(op)) if op else frozenset()


def _method(probe: Exchange, target: Profile, refused: set[str], works: set[str]) -> Iterator[Observation]:
    status = probe.status or 0
    if reason := unjudged(probe, target):
        yield reason
    elif status == 405:
        yield _allow(probe, refused, works)
    elif status >= 500 and status != 501:
        yield broken("server-error", f"{probe.method} is refused by a 4xx or 501", f"status {status}", probe)
    elif status >= 400 or probe.method in {"OPTIONS", "HEAD"}:
        yield holds(probe)
    # QUERY is a registered method (RFC 10008): a server may implement it without the profile's knowledge.
    elif outcome(target, "ok", probe) and probe.method != "QUERY":
        yield broken("method-accepted", f"{probe.method} is refused: nobody documented it", f"status {status}", probe)


def _allow(probe: Exchange, refused: set[str], works: set[str]) -> Observation:
    allow = probe.reply.field("allow") if probe.reply else None
    if allow is None:
        return broken("allow-missing", f"Allow on the 405 to {probe.method}", "no Allow", probe)
    listed = {method.strip() for method in allow.split(",")} - {""}
    if listed & refused:
        return broken("allow-lists-refused", f"Allow without {', '.join(sorted(listed & refused))}, which got 405",
                      f"Allow: {allow[:200]}", probe)
    if listed and not works <= listed:
        return broken("allow-lacks-working", f"Allow with {', '.join(sorted(works - listed))}, which works",
                      f"Allow: {allow[:200]}", probe)
    return holds(probe)


# --- HTTP-008


@check("HTTP-008", title="Malformed and invalid input is a 4xx, never a 5xx or a 2xx", level=MUST, per="api",
       promise="http.invalid_input", evidence=(invalid_queries, invalid_bodies), minimum=4,
       sources=("RFC 9110, 15.5: the 4xx class is for requests that are wrong",
                "RFC 9110, 15.5.1 and 15.5.21: 400 and 422; both will do"),
       remedy="Parse and validate every part of a request before using it, and refuse what does not fit: never let it "
              "reach code that can fail on it, never bend it into range.")
def invalid_refused(recording: Recording, target: Profile, _subject: Subject) -> Iterator[Observation]:
    """Invalid input gets a 4xx; a 5xx counts when three tries give it, a 2xx when no reading allows the input."""
    if failed := uncontrolled(recording, target):
        yield failed
        return
    by_number = {e.n: e for e in recording.exchanges("invalid")}
    for fact in recording.facts("invalid"):
        tries = [by_number[n] for n in fact.data["exchanges"] if n in by_number]
        if tries:
            yield from _invalid(fact, tries, target)


def _invalid(fact: Fact, tries: list[Exchange], target: Profile) -> Iterator[Observation]:
    last = tries[-1]
    expected = f"{last.operation}: {fact.data['said']} is refused by a 4xx"
    reason = unjudged(last, target)
    server = [e for e in tries if e.status is not None and e.status >= 500 and e.status != 503]
    if len(server) == 3:
        yield reason or broken("server-error", expected, f"status {last.status}, three times of three", *tries)
    elif len(tries) > 1 or last.status == 503:
        yield reason or undecided("noisy", f"{fact.data['said']} got 5xx, though not three times", *tries)
    elif reason or last.status in {401, 407}:
        yield reason or undecided("precondition", f"the caller got {last.status}", last)
    elif last.status is not None and 400 <= last.status < 500:
        yield holds(last)
    # An error envelope under a 2xx is a refusal under the wrong status: the check of status codes says so.
    elif fact.data["contradicts"] and outcome(target, "ok", last) and not error_sign(last.reply or Message()):
        yield broken("invalid-accepted", expected, f"status {last.status}", last)


# --- HTTP-011

# The registry of HTTP status codes, November 2026.
REGISTERED = frozenset({*range(100, 105), *range(200, 209), 226, *range(300, 309), *range(400, 419), *range(421, 427),
                        428, 429, 431, 451, *range(500, 509), 510, 511})
# The members of an error envelope. A body with others (an id, a name, a state) is a resource that tells of a failure.
ENVELOPE = frozenset({
    "success", "ok", "error", "errors", "code", "message", "msg", "detail", "details", "title", "type", "status",
    "timestamp", "correlation_id", "correlationid", "request_id", "requestid", "trace_id", "traceid", "instance",
    "error_code", "errorcode", "error_description", "error_uri", "reason"})
MOST_CONTENT = 64 * 1024


@traffic_check("HTTP-011", title="Status codes are registered and used in class", level=MUST,
               promise="http.status_codes", minimum=10,
               sources=("RFC 9110, 15: the classes of status codes", "RFC 9205, 4.6: no status codes of one's own",
                        "Zalando RESTful API guidelines, rule 152: 207 for batches"),
               remedy="Answer an error with a registered 4xx or 5xx, and keep the particulars for its body.")
def status_in_class(exchange: Exchange, target: Profile, _memory: dict[str, Any]) -> Iterator[Observation]:
    """Only registered status codes; no error envelope under a 2xx; no content after a 204."""
    status, reply = exchange.status, exchange.reply
    if status is None or reply is None:
        return
    name = exchange.operation or "an undeclared path"
    if status not in REGISTERED:
        yield undecided("edge_generated", f"a proxy seems to have made the {status}", exchange) if edge_made(
            target, exchange) else broken("unregistered-status", f"a registered status code from {name}",
                                          f"status {status}", exchange)
    elif status == 204 and _content_after(reply):
        yield broken("content-after-204", f"no content after the 204 of {name}", "content is announced or sent",
                     exchange)
    elif 200 <= status < 300 and status != 207 and (sign := error_sign(reply)):
        yield broken("error-in-success", f"an error of {name} under a 4xx or 5xx", f"status {status} with {sign}",
                     exchange)
    else:
        yield holds(exchange)


def _content_after(reply: Message) -> bool:
    return bool(reply.content) or reply.field("content-length") not in {None, "0"} or (
        reply.field("transfer-encoding") is not None)


def error_sign(reply: Message) -> str | None:
    """By what a body is known as an error envelope; None for any other."""
    media = media_type(reply)
    if media == "application/problem+json":
        return "a problem document"
    if len(reply.content) > MOST_CONTENT or not media.endswith("json"):
        return None
    body = parse_json(reply.content)
    return _envelope_sign(body) if isinstance(body, Mapping) else None


def _envelope_sign(body: Mapping[str, Any]) -> str | None:
    filled = {k.lower() for k, v in body.items() if v not in (None, "", "0", [], {}, False)}
    if not filled <= ENVELOPE:
        return None
    if body.get("success") is False or body.get("ok") is False:
        return "success = false"
    return next((f"the member {name!r}" for name in ("error", "errors") if name in filled), None)
