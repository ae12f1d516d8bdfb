"""Error bodies: a media type that says what they are, a code, words for people, a correlation id, nothing internal."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

from openbell.conformance.brackets import uncontrolled, unjudged
from openbell.events import Exchange, Message, Recording
from openbell.locate import NotJSON, parse_json, pointer
from openbell.profile import Envelope, Profile
from openbell.registry import MUST, SHOULD, Observation, broken, check, holds, traffic_check, undecided
from openbell.scenarios.error_layers import error_layers, error_layers_of_bodies
from openbell.target import Subject, correlation, edge_made, envelope, media_type

CONVENTION = "Conventions: error bodies with codes, messages and correlation IDs for traceability"
PROBLEM = "RFC 9457, 3: problem details for HTTP APIs"
JSON_TYPES = frozenset({"application/problem+json", "application/json"})


def _error(exchange: Exchange, shape: Envelope) -> Message | None:
    """The reply, where it is an error that is to have a body."""
    status = exchange.status
    bare = status is None or status < 400 or status in shape.no_body or exchange.method == "HEAD"
    return None if bare else exchange.reply


def _where(exchange: Exchange) -> str:
    return f"the {exchange.status} of {exchange.method} {exchange.operation or 'an undeclared path'}"


def _edge(exchange: Exchange) -> Observation:
    return undecided("edge_generated", f"a proxy seems to have made {_where(exchange)}", exchange)


# --- ERR-001


@traffic_check("ERR-001", title="Every error has a parseable, declared media type", level=MUST,
               promise="errors.media_type", minimum=5,
               sources=("RFC 9110, 15.5: an error is explained by a representation, except to HEAD", PROBLEM,
                        "Zalando RESTful API guidelines, rule 176: problem JSON"),
               remedy="Write every error, also the router's and the framework's, as application/problem+json.")
def parseable(exchange: Exchange, target: Profile, _memory: dict[str, Any]) -> Iterator[Observation]:
    """An error is problem+json, JSON or what the profile declares, and is what it says that it is."""
    shape = envelope(target, exchange)
    reply = _error(exchange, shape)
    if reply is None:
        return
    expected = f"{_where(exchange)} is a JSON object, declared as {' or '.join(shape.media_types)}"
    yield _edge(exchange) if edge_made(target, exchange) else _parsed(exchange, reply, shape, expected)


def _parsed(exchange: Exchange, reply: Message, shape: Envelope, expected: str) -> Observation:
    media = media_type(reply)
    declared = media in JSON_TYPES or media in shape.media_types
    if not reply.content:
        return broken("empty", expected, "no content", exchange)
    if reply.cut:
        return undecided("noisy", "the content is larger than the harness reads", exchange)
    if declared and "json" not in media:
        return holds(exchange)
    body = parse_json(reply.content)
    if not isinstance(body, Mapping):
        why = body.why if isinstance(body, NotJSON) else "no object"
        return broken("not-json", expected, f"{media or 'no media type'}: {why}", exchange)
    if not declared:
        return broken("wrong-media-type", expected, f"a JSON object declared as {media or 'nothing'}", exchange)
    return holds(exchange)


# --- ERR-002

_CODE = re.compile(r"[A-Za-z0-9_.:/#-]+")


@traffic_check("ERR-002", title="Error body carries code, human-readable message and correlation id", level=MUST,
               promise="errors.body", minimum=5,
               sources=(CONVENTION, PROBLEM, "AIP-193: a reason that machines can read"),
               remedy="Give one function the error's code, its sentence and the request's correlation id, and let it "
                      "write every error.")
def complete(exchange: Exchange, target: Profile, _memory: dict[str, Any]) -> Iterator[Observation]:
    """Code, message and correlation id stand where the profile says; about:blank is no code.

    A message is for people: neither the code again nor one word alone, such as Forbidden.
    """
    shape = envelope(target, exchange)
    reply = _error(exchange, shape)
    if reply is None or not reply.content:
        return
    body = parse_json(reply.content)
    if edge_made(target, exchange):
        yield _edge(exchange)
    elif not isinstance(body, Mapping):
        yield broken("code-missing", f"{_where(exchange)} has a code at {' or '.join(shape.code)}",
                     "the body is no JSON object", exchange)
    else:
        wrong = list(_lacking(exchange, shape, body))
        yield from wrong or [holds(exchange)]


def _texts(body: Any, places: tuple[str, ...]) -> list[str]:
    found = [pointer(body, place) for place in places]
    return [value.strip() for value in found if isinstance(value, str) and value.strip()]


def _lacking(exchange: Exchange, shape: Envelope, body: Any) -> Iterator[Observation]:
    codes, messages = _texts(body, shape.code), _texts(body, shape.message)
    good = [code for code in codes if code != "about:blank" and _CODE.fullmatch(code)]
    if not good:
        yield broken("code-missing", f"{_where(exchange)} has a code at {' or '.join(shape.code)}",
                     f"{codes[0][:80]!r}" if codes else "none", exchange)
    if not any(_for_people(message) and message not in good for message in messages):
        yield broken("message-missing", f"{_where(exchange)} has a sentence at {' or '.join(shape.message)}",
                     f"{messages[0][:80]!r}" if messages else "none", exchange)
    if shape.kind != "oauth":
        yield from _untraced(exchange, shape)


def _for_people(message: str) -> bool:
    """Whether a text has words; languages without spaces have letters beyond ASCII."""
    return " " in message or not message.isascii()


def _untraced(exchange: Exchange, shape: Envelope) -> Iterator[Observation]:
    header, body = correlation(shape, exchange)
    trace = shape.trace
    if trace.body is None and not trace.header_only:
        yield undecided("precondition", "the profile does not say where the correlation id is (envelope.trace.body)",
                        exchange)
    elif not body:
        place = trace.body or "a member of the body"
        came = f"none in the body; {trace.header} has one" if any(header) else "none"
        yield broken("correlation-missing", f"{_where(exchange)} has a correlation id at {place}", came, exchange,
                     level=SHOULD if trace.header_only and any(header) else None)


# --- ERR-005

MOST_TEXT = 64 * 1024
_OWN_FIELDS = frozenset({b"server", b"via", b"date", b"etag", b"content-length", b"x-powered-by"})
_URL = re.compile(r"https?://[^\s\"'<>]{1,500}")

# Rule, what it is in words, whether URLs are left out first, and by what it is known.
_INTERNALS: tuple[tuple[str, str, bool, re.Pattern[str]], ...] = (
    ("stack-trace", "a stack trace", False, re.compile(
        r"Traceback \(most recent call last\)|File \"[^\"\n]{1,300}\", line \d+"
        r"|\bat [\w$.<>/]{1,200}\([\w$]{1,100}\.(?:java|kt|scala|groovy):\d+\)|\bat \S.{0,300}:line \d+"
        r"|\bat (?:[^\n()]{1,200} \()?(?:file://|/|[A-Z]:\\)[^\s():]{1,300}:\d+:\d+|\bgoroutine \d+ \["
        r"|\bpanic: runtime error|\b(?:[a-z_]\w{0,60}\.){2,10}[A-Z]\w{0,80}(?:Exception|Error)(?=[:\s(])"
        r"|\.(?:rb|php):\d+:in ")),
    ("sql-text", "SQL", False, re.compile(
        r"\bSELECT\s[^;]{1,500}?\sFROM\s|\bINSERT INTO\s+\S|\bUPDATE\s+\S{1,100}\s+SET\s|\bDELETE FROM\s+\S"
        r"|SQLSTATE|\bORA-\d{5}\b|\b(?:psycopg2?|sqlite3|pymysql|asyncpg)\.\w|\[SQL: "
        r"|syntax error at or near|(?:UNIQUE|FOREIGN KEY|CHECK|NOT NULL) constraint failed|no such (?:table|column):"
        r"|duplicate key value violates|relation \"[^\"]{1,100}\" does not exist|You have an error in your SQL")),
    ("file-path", "a path of the server's file system", True, re.compile(
        r"(?<![\w./])/(?:usr|home|var|opt|etc|srv|root|tmp|Users)/[\w.@-]{1,100}(?:/[\w.@-]{1,100})+"
        r"|(?<![\w.])/(?:[\w.@-]{1,100}/){1,20}[\w-]{1,100}\.(?:py|rb|go|java|cs|ts|jar|dll|so)\b"
        r"|\b[A-Z]:\\(?:[\w .-]{1,100}\\)+|\bsite-packages\b|\bnode_modules\b")),
    ("internal-address", "an internal address", False, re.compile(
        r"(?<![\d.])(?:10\.\d{1,3}|192\.168|172\.(?:1[6-9]|2\d|3[01]))\.\d{1,3}\.\d{1,3}(?![\d.]*\d)"
        r"|\b(?:[a-z0-9-]{1,63}\.){1,8}(?:internal|intranet|corp|lan|cluster\.local)\b")),
)


@traffic_check("ERR-005", title="No internals leak", level=MUST, promise="errors.no_internals", minimum=5,
               sources=("Zalando RESTful API guidelines, rule 177: no stack traces",
                        "RFC 9457, 4: problem details are no debugging tool",
                        "OWASP API Security 2023, API8: security misconfiguration"),
               remedy="Answer what is not foreseen with a fixed text and the correlation id; keep the rest in the log.")
def no_internals(exchange: Exchange, target: Profile, _memory: dict[str, Any]) -> Iterator[Observation]:
    """No error shows stack, SQL, file paths or internal addresses; what the caller sent itself does not count."""
    reply = exchange.reply
    if reply is None or exchange.status is None or exchange.status < 400:
        return
    if edge_made(target, exchange):
        yield _edge(exchange)
        return
    found = list(_leaks(reply, _sent(exchange)))
    for rule, words, shown in found:
        yield broken(rule, f"{_where(exchange)} shows nothing of the implementation", f"{words}: {shown[:100]!r}",
                     exchange)
    if not found:
        yield holds(exchange)


def _leaks(reply: Message, sent: str) -> Iterator[tuple[str, str, str]]:
    said = _said(reply)
    without_urls = _URL.sub(" ", said)
    traced = False
    for rule, words, cut_urls, pattern in _INTERNALS:
        matches = (m[0] for m in pattern.finditer(without_urls if cut_urls else said))
        shown = next((m for m in matches if m.strip() not in sent), None)
        # The paths within a stack trace are a part of it.
        if shown is not None and not (traced and rule == "file-path"):
            traced = traced or rule == "stack-trace"
            yield rule, words, shown


def _said(reply: Message) -> str:
    """What an error says: its fields, less those of servers and proxies about themselves, and its plain content."""
    fields = "\n".join(v.decode("utf-8", "replace") for k, v in reply.headers if k.lower() not in _OWN_FIELDS)
    return fields[:MOST_TEXT] + "\n" + _plain(reply.content[:MOST_TEXT])


def _plain(content: bytes) -> str:
    """Content with JSON's escapes of quotes, lines, slashes and backslashes taken off."""
    unescaped = {"\\n": "\n", "\\r": "\r", "\\t": "\t", '\\"': '"', "\\/": "/", "\\\\": "\\"}
    return re.sub(r'\\[nrt"/\\]', lambda match: unescaped[match[0]], content.decode("utf-8", "replace"))


def _sent(exchange: Exchange) -> str:
    """All that the caller sent, as sent and decoded."""
    fields = "\n".join(v.decode("utf-8", "replace") for _, v in exchange.request.headers)
    content = exchange.request.content[:MOST_TEXT]
    return "\n".join((exchange.url, unquote_plus(exchange.url), fields, _plain(content)))


# --- ERR-007


@dataclass(frozen=True)
class _Shape:
    """The shape of one error: its media type where that is a JSON type, and the names of its members, two deep."""

    media: str
    members: frozenset[str]

    def like(self, other: _Shape) -> bool:
        """One media type, and at least half of all members in common: optional members may come and go."""
        same_media = self.media == other.media or not (self.media and other.media)
        every = self.members | other.members
        return same_media and 2 * len(self.members & other.members) >= len(every)

    def __str__(self) -> str:
        return f"{self.media or 'JSON'} with {', '.join(sorted(self.members)[:12]) or 'no members'}"


@check("ERR-007", title="Error format is uniform across layers", level=MUST, per="api", promise="errors.uniform",
       evidence=(error_layers, error_layers_of_bodies), minimum=3,
       sources=(CONVENTION, "Zalando RESTful API guidelines, rule 176: what stands in front may answer otherwise"),
       remedy="Register the error writer for the framework's own exceptions too: unknown route, wrong method, "
              "failed parsing.")
def uniform(recording: Recording, target: Profile, _subject: Subject) -> Iterator[Observation]:
    """Router, authentication, parser, validator and handler write errors of one shape."""
    if failed := uncontrolled(recording, target):
        yield failed
        return
    shapes: list[tuple[Exchange, _Shape]] = []
    for probe in recording.exchanges("layer"):
        if reason := _no_shape(probe, target):
            yield reason
        else:
            shapes.append((probe, _shape(probe)))
    if shapes:
        yield from _compared(shapes)


def _no_shape(probe: Exchange, target: Profile) -> Observation | None:
    """Why a layer's error is not compared."""
    if reason := unjudged(probe, target):
        return reason
    shape = envelope(target, probe)
    reply = _error(probe, shape)
    if reply is None or not reply.content or shape.kind == "oauth":
        return undecided("no_sample", f"{_layer(probe)} gave no error body (status {probe.status})", probe)
    return None


def _layer(probe: Exchange) -> str:
    return f"the layer {probe.label.partition(':')[2]}"


def _shape(probe: Exchange) -> _Shape:
    reply = probe.reply or Message()
    body, media = parse_json(reply.content), media_type(reply)
    if not isinstance(body, Mapping):
        return _Shape(media or "no media type", frozenset())
    inner = {f"{k}/{name}" for k, v in body.items() if isinstance(v, Mapping) for name in v}
    return _Shape(media if media in JSON_TYPES else "", frozenset({*body, *inner}))


def _compared(shapes: list[tuple[Exchange, _Shape]]) -> Iterator[Observation]:
    """Each error against the one that most others are like."""
    likes = Counter({i: sum(a.like(b) for _, b in shapes) for i, (_, a) in enumerate(shapes)})
    model, usual = shapes[min(likes, key=lambda i: (-likes[i], i))]
    for probe, shape in shapes:
        if shape.like(usual):
            yield holds(probe)
        else:
            yield broken("schemas-differ", f"one shape everywhere: {usual}, as {_layer(model)} writes it",
                         f"{_layer(probe)} writes {shape}", model, probe)
