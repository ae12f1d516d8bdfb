"""Secret values become placeholders such as `⟨full.token#2⟩` before anything is kept.

Three nets, one behind the other. By value: each secret given or received is learned, and every spelling of it
(disguise.py) is masked wherever it stands. By name: what a field says is secret is masked though nobody learned it
(sensitive.py), and so are the fields that a profile names (named.py). At the door: `gate` refuses a line in which a
known secret can still be read.

A value under SHORT characters would mask innocent text, so it is masked by name alone. What is masked stays in shape:
JSON members keep their quotes, credentials their scheme, cookies their names and attributes. Base64 within base64 and
letters written as escapes are not seen through.
"""

import json
import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple
from urllib.parse import unquote_plus

from ahocorasick_rs import BytesAhoCorasick, MatchKind

from openbell import sensitive
from openbell.disguise import Needle, broken_off, expression, needles

SHORT = 8
LAST = 16 * 1024  # bytes at the end of what broke off in which the beginning of a secret is sought
PLACEHOLDER = re.compile(r"⟨(?P<owner>[\w.-]+)\.(?P<kind>[\w-]+)(?:#(?P<number>\d+))?⟩")
PLACEHOLDER_BYTES = re.compile("⟨[^⟨⟩]{1,600}⟩".encode())
BRACKET = "⟨".encode()
Headers = tuple[tuple[bytes, bytes], ...]


class Leak(Exception):
    """A known secret stands in what was about to be written. Names the secrets and never shows them."""


class Span(NamedTuple):
    start: int
    end: int
    placeholder: bytes


def contains_placeholder(text: str) -> bool:
    """Whether a masked secret stands in `text`."""
    return PLACEHOLDER.search(text) is not None


class Redactor:
    """Knows the secrets of one run. Not for use by several threads at once while it still learns."""

    def __init__(self) -> None:
        self._placeholders: dict[str, str] = {}
        self._counts: Counter[tuple[str, str]] = Counter()
        self._short: list[str] = []
        self._issued: set[bytes] = set()
        self._needles: dict[bytes, list[tuple[Needle, bytes]]] = {}
        self._loose: list[tuple[Needle, bytes]] = []
        self._members: set[bytes] = set(sensitive.MEMBERS)
        self._headers: set[str] = set()
        self._parameters: set[str] = set()
        self._automaton: BytesAhoCorasick | None = None
        self._patterns: list[bytes] = []

    @property
    def short(self) -> tuple[str, ...]:
        """The names (`owner.kind`) of the secrets that are too short to be sought by value, in learning order."""
        return tuple(dict.fromkeys(self._short))

    def heed(self, headers: Collection[str]) -> None:
        """From now on the values of these headers (lower case) are secret, also where members or parameters bear
        their names; not for a bare word: `token` may be the name of a coin there."""
        self._headers.update(headers)
        self._parameters.update(name for name in headers if name and not name.isalnum())
        self._members.update(name.encode() for name in self._parameters)
        self._automaton = None

    def learn(self, value: str, owner: str, kind: str) -> str:
        """Registers a secret and returns its placeholder; a value learnt before keeps the one it has.

        `owner` is the principal's name, `kind` says what it is (token, secret, cookie). Characters other than letters,
        digits, `_`, `-` (and `.` in the owner) become `-`; 60 of each are kept. A value of 1 MB takes half a second.
        """
        if known := self._placeholders.get(value):
            return known
        owner, kind = re.sub(r"[^\w.-]", "-", owner)[:60] or "-", re.sub(r"[^\w-]", "-", kind)[:60] or "-"
        self._counts[owner, kind] += 1
        placeholder = f"⟨{owner}.{kind}#{self._counts[owner, kind]}⟩"
        if len(value) < SHORT:
            self._short.append(f"{owner}.{kind}")
        self.adopt(value, placeholder)
        return placeholder

    def adopt(self, value: str, placeholder: str) -> None:
        """Registers a secret under the placeholder that another process of the run has given it."""
        self._placeholders[value] = placeholder
        self._issued.add(placeholder.encode())
        if len(value) >= SHORT:
            self._seek(value, placeholder.encode())

    def standing_in(self, text: str) -> dict[str, str]:
        """The known secrets that stand in `text` as they are, with their placeholders: for a child that needs them."""
        return {value: placeholder for value, placeholder in self._placeholders.items() if value and value in text}

    def text(self, value: str) -> str:
        """`value` with every known secret and every sensitive member's or form field's value masked."""
        return self.data(value.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")

    def data(self, value: bytes) -> bytes:
        """The same for bytes in any encoding that keeps ASCII; placeholders are UTF-8."""
        spans, names = self._seen(value)
        return _masked(value, _merged([*spans, *self._named(value, names, spans)]))

    def sent(self, message: bytes, members: Iterable[str]) -> bytes:
        """The same for a message of the harness's own, and the values of exactly these members."""
        masked = self.data(message)
        written = [json.dumps(name)[1:-1].encode() for name in members]
        names = [(name, found.end()) for name in written
                 for found in re.finditer(rb'(?<=")' + re.escape(name), masked)]
        return _masked(masked, self._named(masked, sorted(names, key=lambda name: name[1]), []))

    def unfinished(self, value: bytes) -> bytes:
        """The same for bytes that broke off: a known secret's beginning of SHORT characters at their end is masked."""
        masked = self.data(value)
        tail = masked[-LAST:]
        lowered = tail.lower()
        known = (*(one for found in self._needles.values() for one in found), *self._loose)
        spans = [Span(at, len(tail), placeholder) for needle, placeholder in known
                 if (at := broken_off(needle, tail, lowered)) is not None]
        return masked[:-LAST] + _masked(tail, _merged(self._outside_placeholders(tail, spans)))

    def headers(self, headers: Headers) -> Headers:
        """Header lines masked by value, then by name. Schemes, cookie names and cookie attributes stay."""
        return tuple((self.data(name), self._header(name, self.data(value))) for name, value in headers)

    def url(self, url: str, parameter: str | None = None) -> str:
        """A URL masked by value; then its user information and its sensitive parameters (query, fragment) by name, and
        the parameter in which the harness itself has sent a secret."""
        url = sensitive.USERINFO.sub(lambda found: self._value_or_name(found[0], "userinfo"), self.text(url))
        return sensitive.PARAMETER.sub(lambda found: self._parameter(found, parameter), url)

    def gate(self, line: bytes) -> None:
        """Raises Leak if a known secret, in any spelling, stands in `line`."""
        if spans := self._seen(line)[0]:
            raise Leak("refused to write " + ", ".join(sorted({span.placeholder.decode() for span in spans})))

    def foreign(self, *, headers: Headers = (), url: str = "", content: bytes = b"") -> None:
        """Learns what a message of another tool's recording names as secret; a profile is not needed.

        Takes the values of sensitive headers, cookies, parameters and members, names in any letter case. Call it for
        every message first, then mask them all: so each copy is found, wherever it stands.
        """
        for name, value in (
            *sensitive.header_fields(headers, self._headers),
            *sensitive.url_fields(url, self._parameters),
            *sensitive.body_fields(content),
        ):
            self._members.add(name.encode("utf-8", "surrogatepass"))
            self.learn(value, "foreign", name)
        self._automaton = None

    def _seek(self, value: str, placeholder: bytes) -> None:
        for needle in needles(value):
            if needle.anchor:
                self._needles.setdefault(needle.anchor, []).append((needle, placeholder))
            else:
                self._loose.append((needle, placeholder))
        self._automaton = None

    def _compiled(self) -> BytesAhoCorasick:
        if self._automaton is None:
            self._patterns = sorted({*self._needles, *self._members})
            self._automaton = BytesAhoCorasick(self._patterns, matchkind=MatchKind.Standard)
        return self._automaton

    def _seen(self, content: bytes) -> tuple[list[Span], list[tuple[bytes, int]]]:
        """The spans of known secrets, sorted and apart; the names of sensitive members, and where each ends."""
        lowered = content.lower()
        spans, names, suspects = list[Span](), list[tuple[bytes, int]](), dict.fromkeys(self._loose)
        for index, start, end in self._compiled().find_matches_as_indexes(lowered, overlapping=True):
            pattern = self._patterns[index]
            if pattern in self._members:
                names.append((pattern, end))
            for needle, placeholder in self._needles.get(pattern, ()):
                if (at := needle.literal_start(lowered, start)) is not None:
                    spans.append(Span(*needle.widened(content, at, at + len(needle.literal)), placeholder))
                elif needle.may_be_at(content, start):
                    suspects[needle, placeholder] = None
        spans.extend(_spelled_spans(content, suspects))
        return _merged(self._outside_placeholders(content, spans)), names

    def _outside_placeholders(self, content: bytes, spans: list[Span]) -> list[Span]:
        """A secret may read like a part of a placeholder that was put there before; a forged placeholder hides none."""
        if not spans or BRACKET not in content:
            return spans
        ours = [found.span() for found in PLACEHOLDER_BYTES.finditer(content) if found[0] in self._issued]
        return [span for span in spans if not _inside(span, ours)]

    def _holds_ours(self, content: bytes) -> bool:
        return BRACKET in content and not self._issued.isdisjoint(PLACEHOLDER_BYTES.findall(content))

    def _named(self, content: bytes, names: list[tuple[bytes, int]], known: list[Span]) -> Iterator[Span]:
        """The values of sensitive members in which no known secret stands."""
        done = 0
        for name, name_end in names:
            member = sensitive.member_at(content, name_end) if name_end >= done else None
            if member is None or self._keeps(content[member.start : member.end]):
                continue
            span = Span(member.start, member.end, member.quotes + self._by_name(name) + member.quotes)
            if not _overlaps(span, known):
                done = span.end
                yield span

    def _keeps(self, value: bytes) -> bool:
        """Whether a sensitive field's value needs no masking by name: it is empty or holds a masked secret."""
        return not value.strip() or self._holds_ours(value)

    def _by_name(self, name: bytes) -> bytes:
        kept = re.sub(rb"[^a-z0-9_-]+", b"-", name.lower())[:60].strip(b"-") or b"field"
        placeholder = BRACKET + b"redacted." + kept + "⟩".encode()
        self._issued.add(placeholder)
        return placeholder

    def _header(self, name: bytes, value: bytes) -> bytes:
        if name.lower() in (b"cookie", b"set-cookie"):
            return self._cookies(name.lower(), value)
        named = name.decode("latin-1").lower() in self._headers or sensitive.is_header(name)
        if self._keeps(value) or not named:
            return value
        scheme = sensitive.SCHEME.match(value)
        return (scheme[0] if scheme else b"") + self._by_name(name)

    def _cookies(self, name: bytes, value: bytes) -> bytes:
        """Every pair of Cookie; the first of Set-Cookie, whose others are attributes."""

        def masked(pair: re.Match[bytes]) -> bytes:
            return pair[0] if self._keeps(pair["value"]) else (pair["name"] or b"") + self._by_name(name)

        return sensitive.COOKIE.sub(masked, value, count=1 if name == b"set-cookie" else 0)

    def _parameter(self, found: re.Match[str], sent: str | None) -> str:
        name = unquote_plus(found["name"])
        named = name == sent or name.lower() in self._parameters
        if not named and not sensitive.is_parameter(name, found["value"]):
            return found[0]
        return f"{found['before']}{found['name']}={self._value_or_name(found['value'], name)}"

    def _value_or_name(self, value: str, name: str) -> str:
        kept = self._keeps(value.encode("utf-8", "surrogatepass"))
        return value if kept else self._by_name(name.encode("utf-8", "surrogatepass")).decode()


def _spelled_spans(content: bytes, suspects: Iterable[tuple[Needle, bytes]]) -> Iterator[Span]:
    for needle, placeholder in suspects:
        for found in expression(needle).finditer(content):
            yield Span(*needle.widened(content, *found.span()), placeholder)


def _inside(span: Span, places: list[tuple[int, int]]) -> bool:
    """Whether one of the places, which are sorted and apart, holds the whole span."""
    before = bisect_right(places, span.start, key=lambda place: place[0])
    return before > 0 and span.end <= places[before - 1][1]


def _overlaps(span: Span, others: list[Span]) -> bool:
    """Whether the span meets one of the others, which are sorted and apart."""
    before = bisect_left(others, span.end, key=lambda other: other.start)
    return before > 0 and span.start < others[before - 1].end


def _merged(spans: list[Span]) -> list[Span]:
    """Sorted and apart. The first and longest of overlapping spans names them all; pieces of one secret join."""
    merged: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.start, -span.end)):
        last = merged[-1] if merged else Span(-1, -1, b"")
        if span.start < last.end or (span.start == last.end and span.placeholder == last.placeholder):
            merged[-1] = last._replace(end=max(last.end, span.end))
        else:
            merged.append(span)
    return merged


def _masked(content: bytes, spans: Iterable[Span]) -> bytes:
    parts, copied = list[bytes](), 0
    for span in spans:
        parts += content[copied : span.start], span.placeholder
        copied = span.end
    return b"".join([*parts, content[copied:]])
