"""In what ways can one secret be written?

Text is escaped one character after the other, and escapings nest: JSON in JSON, a URL in HTML in JSON. Listing all
spellings of a value would never end, so a value becomes one regular expression in which each character that anybody
escapes may stand in any spelling, at any depth up to a bound. Letters and digits are left alone by every escaping.
So each spelling holds the value's longest run of them unchanged, whatever their case: this run is the needle's
anchor. Thousands of anchors are sought at once; the expression of the text from the anchor on is tried at each place
where it was seen, and the whole expression only where that one matched.

Base64 and hex mix the characters up. Their texts are values of their own, with anchors of their own: base64 once for
each alignment, without the digits that neighbouring bytes have a part in; both over the plain value and over its
common escapings, for a client secret is URL-encoded before it is put into Basic credentials.
"""

import base64
import functools
import html
import json
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from html.entities import codepoint2name
from urllib.parse import quote, quote_plus

ANCHOR = 12  # bytes of a run that are enough to make a false alarm rare
SHORTEST_ANCHOR = 2  # one letter is everywhere: a needle without a longer run is sought by its expression alone
CHUNK = 1024  # longer values are sought piece by piece, which bounds the expressions
REST = 24  # characters from the anchor on that are tried first
HEAD = 8  # characters of a text that broke off by which it is still known
MOST_READINGS = 5  # twice as many readings of a hostile text for each
READINGS = {"%": 1, "&": 1, '"': 1, "'": 1, "\\": 5}  # characters that can be read in several ways, as powers of 2
MOST_HEADS = 200  # places where a text may begin that are looked at: the last ones
UNTOUCHED = re.compile(r"[A-Za-z0-9._~-]*")  # no common escaping changes these
RUN = re.compile(rb"[a-z0-9]+")

# Quantifiers are bounded, and possessive where they can be: a hostile text of backslashes costs a constant per byte.
MOST_BACKSLASHES = 31  # what JSON five times deep puts before a quote
PERCENT = rb"%(?:25){0,5}"
BACKSLASH = rb"(?:\\|u005c|x5c|" + PERCENT + rb"5c|&(?:amp;){0,5}#(?:92|x5c);)"
BACKSLASHES = BACKSLASH + b"{0,%d}+" % MOST_BACKSLASHES
NUMBER_SIGN = rb"(?:#|" + PERCENT + rb"23)"
SEMICOLON = rb"(?:;|" + PERCENT + rb"3b)"
AMPERSAND = rb"(?:&|u0026|x26|" + PERCENT + rb"26)(?:amp" + SEMICOLON + rb"){0,5}"
# How a character reads without a number: as its letter, doubled by CSV, with what belongs to an escaped % or &.
RAW = {
    "%": PERCENT,
    "&": AMPERSAND,
    '"': b'""?',
    "'": b"''?",
    "\n": rb"\r?\n|n",
    "\r": rb"\r|r",
    "\t": rb"\t|t",
    "\b": rb"\x08|b",
    "\f": rb"\f|f",
    "\v": rb"\v|v",
}
FORM_TWINS = {" ": " +", "+": "+ "}  # forms write a space as a plus, and read a plus as a space
NAMES = codepoint2name | {ord("'"): "apos", ord("/"): "sol", ord("+"): "plus"}
DIGIT = rb"(?:[a-z0-9+/_-]|\\{0,31}+/|" + PERCENT + rb"2[bf])"
DIGIT_AFTER = re.compile(DIGIT, re.IGNORECASE)
# What may be left of one character, escaped or in UTF-8, where a text breaks off within it.
TORN = re.compile(rb"(?:[\\%&][\\%&#;a-z0-9]{0,40}|[\xc2-\xf4][\x80-\xbf]{0,2})?\Z", re.IGNORECASE)
DIGIT_BEFORE = re.compile(DIGIT + rb"\Z", re.IGNORECASE)

TEXT_ESCAPES: tuple[Callable[[str], str], ...] = (
    lambda text: json.dumps(text)[1:-1],
    lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    lambda text: quote(text, safe="", errors="surrogatepass"),
    lambda text: quote(text, safe="/", errors="surrogatepass"),
    lambda text: quote(text, safe="!*'()", errors="surrogatepass"),
    lambda text: quote_plus(text, errors="surrogatepass"),
    lambda text: re.sub("%..", lambda found: found[0].lower(), quote_plus(text, errors="surrogatepass")),
    html.escape,
    lambda text: repr(text)[1:-1],
)


@dataclass(frozen=True, slots=True)
class Needle:
    """One text to seek. `anchor` and `literal` are lower case; `literal` is empty where its ends may be escaped."""

    text: str
    anchor: bytes
    offset: int
    literal: bytes
    base64: bool = False
    cut_before: bool = False
    cut_after: bool = False

    def literal_start(self, lowered: bytes, anchor_start: int) -> int | None:
        """Where the unescaped text starts that stands around the anchor seen at `anchor_start`, if it does."""
        start = anchor_start - self.offset
        return start if self.literal and start >= 0 and lowered.startswith(self.literal, start) else None

    def may_be_at(self, content: bytes, anchor_start: int) -> bool:
        """Whether what follows the anchor seen at `anchor_start` is a spelling of what follows it in the text."""
        return rest_expression(self).match(content, anchor_start) is not None

    def widened(self, content: bytes, start: int, end: int) -> tuple[int, int]:
        """The span with the base64 digits beside it that hold some of the secret's bits."""
        if self.cut_before and (before := DIGIT_BEFORE.search(content, max(0, start - 8), start)):
            start = before.start()
        if self.cut_after and (after := DIGIT_AFTER.match(content, end)):
            end = after.end()
        return start, end


def broken_off(needle: Needle, content: bytes, lowered: bytes) -> int | None:
    """Where a spelling of the needle's text starts that breaks off with the content; None where none does."""
    head = needle.text[:HEAD].encode("utf-8", "surrogatepass").lower()
    if not all(run in lowered for run in RUN.findall(head)):
        return None
    rest = _units(needle.text[HEAD:])
    for found in deque(_head(needle).finditer(content), MOST_HEADS):
        end = found.end(1)
        for unit in rest:
            further = _alone(unit, needle.base64).match(content, end)
            if further is None:
                break
            end = further.end()
        if TORN.match(content, end):
            return needle.widened(content, found.start(), len(content))[0]
    return None


@functools.lru_cache(maxsize=2048)
def _head(needle: Needle) -> re.Pattern[bytes]:
    """Matches, without taking it, every spelling of the text's first characters."""
    head, spell = needle.text[:HEAD], _spelled_digit if needle.base64 else _spelled
    return re.compile(b"(?=(" + _joined(head, _units(head), spell) + b"))", re.IGNORECASE)


@functools.lru_cache(maxsize=4096)
def _alone(unit: str, base64_digit: bool) -> re.Pattern[bytes]:
    return re.compile((_spelled_digit if base64_digit else _spelled)(unit), re.IGNORECASE)


def needles(value: str) -> frozenset[Needle]:
    """All that must be sought so that no spelling of `value` is missed."""
    found = set()
    for piece in pieces(value):
        found.add(_needle(piece))
        for content in {content for text in _escaped_twice(piece) for content in _encoded(text)}:
            found.add(_needle(content.hex()))
            found.update(_base64_needle(content, alignment) for alignment in range(3))
    return frozenset(found)


def pieces(value: str) -> Iterator[str]:
    """`value` in pieces of CHUNK characters; the last one takes the rest, so that none is short."""
    count = max(1, len(value) // CHUNK)
    for at in range(count):
        yield value[at * CHUNK : (at + 1) * CHUNK if at < count - 1 else None]


@functools.lru_cache(maxsize=2048)
def expression(needle: Needle) -> re.Pattern[bytes]:
    """Matches every spelling of the needle's text."""
    return _expression(needle.text, needle.base64)


@functools.lru_cache(maxsize=2048)
def rest_expression(needle: Needle) -> re.Pattern[bytes]:
    """Matches every spelling of the needle's text from the anchor on, as far as REST."""
    rest = needle.text.encode("utf-8", "surrogatepass")[needle.offset :].decode("utf-8", "surrogatepass")
    return _expression(rest[:REST], needle.base64)


def _expression(text: str, base64_digits: bool) -> re.Pattern[bytes]:
    spell = _spelled_digit if base64_digits else _spelled
    return re.compile(_joined(text, _units(text), spell), re.IGNORECASE)


def _joined(text: str, units: list[str], spell: Callable[[str], bytes]) -> bytes:
    """The units one after the other. Where their readings would multiply none is taken back, and what then could be
    missed, a text that itself looks escaped, is sought as it is and escaped once."""
    if sum(READINGS.get(unit[0], 0) for unit in units) <= MOST_READINGS:
        return b"".join(map(spell, units))
    known = {content for escaped in {text, *(escape(text) for escape in TEXT_ESCAPES)} for content in _encoded(escaped)}
    whole = map(re.escape, sorted(known, key=len, reverse=True))
    return _any([*whole, b"".join(b"(?>" + spell(unit) + b")" for unit in units)])


def _units(text: str) -> list[str]:
    """Its characters, but runs of backslashes whole."""
    return re.findall(r"\\+|[^\\]", text)


def _needle(text: str, **more: bool) -> Needle:
    content = text.encode("utf-8", "surrogatepass").lower()
    offset, anchor = _anchor(content)
    literal = content if UNTOUCHED.fullmatch(text[0] + text[-1]) else b""
    return Needle(text, anchor, offset, literal, **more)


def _anchor(content: bytes) -> tuple[int, bytes]:
    """The last run that is long enough, else the longest: tokens differ at their ends, not in their first bytes."""
    runs = [(found.end(), found[0]) for found in RUN.finditer(content)]
    end, run = max(runs, key=lambda run: (min(len(run[1]), ANCHOR), run[0]), default=(0, b""))
    anchor = run[-ANCHOR:]
    return (end - len(anchor), anchor) if len(anchor) >= SHORTEST_ANCHOR else (0, b"")


def _base64_needle(content: bytes, alignment: int) -> Needle:
    """The digits of `content` alone, when it begins at byte `alignment` of a group of three."""
    digits = base64.b64encode(bytes(alignment) + content).decode()
    first, last = -(-8 * alignment // 6), 8 * (alignment + len(content)) // 6
    cut_after = (alignment + len(content)) % 3 != 0
    return _needle(digits[first:last], base64=True, cut_before=alignment != 0, cut_after=cut_after)


def _escaped_twice(text: str) -> set[str]:
    if UNTOUCHED.fullmatch(text):
        return {text}
    once = {text, *(escape(text) for escape in TEXT_ESCAPES)}
    return once | {escape(inner) for inner in once for escape in TEXT_ESCAPES}


def _encoded(text: str) -> Iterator[bytes]:
    for encoding, errors in (("utf-8", "surrogatepass"), ("utf-8", "surrogateescape"), ("latin-1", "strict")):
        try:
            yield text.encode(encoding, errors)
        except UnicodeEncodeError:
            continue


@functools.lru_cache(maxsize=4096)
def _spelled(unit: str) -> bytes:
    """One character in every spelling; or a run of backslashes, whose number no reader can tell from their escapes."""
    if unit.startswith("\\"):
        return _any([BACKSLASH, *_numbered(ord("\\"))]) + b"{1,%d}" % (MOST_BACKSLASHES * (len(unit) + 1))
    if unit.isascii():
        return unit.encode() if unit.isalnum() else _spelled_ascii(unit)
    cases = dict.fromkeys((unit, unit.lower(), unit.upper()))
    # The longer spelling first: what is one character in Latin-1 may be the first byte of it in UTF-8.
    # None is taken back: one spelling can be read in several ways, and a text that breaks off would try them all.
    return b"(?>" + _any([*map(_as_utf8, cases), *map(_as_points, cases), *map(_as_stray_bytes, cases)]) + b")"


def _spelled_ascii(char: str) -> bytes:
    twins = FORM_TWINS.get(char, char)
    raw = [RAW.get(twin) or re.escape(twin.encode()) for twin in twins]
    escaped = BACKSLASHES + _any([*(number for twin in twins for number in _numbered(ord(twin))), *raw])
    # A percent or an ampersand may be the start of what would pass for an escaped backslash.
    return _any([escaped, *raw]) if char in "%&" else escaped


def _as_utf8(text: str) -> bytes:
    """As UTF-8, whose bytes may have been taken for Latin-1 and escaped one by one."""
    return b"".join(map(_point, text.encode("utf-8", "surrogatepass")))


def _as_points(text: str) -> bytes:
    return b"".join(map(_point, map(ord, text)))


def _as_stray_bytes(text: str) -> bytes:
    """A lone surrogate may stand for a byte that was not UTF-8 in an environment variable."""
    return b"".join(_point(ord(char) - 0xDC00 if "\udc80" <= char <= "\udcff" else ord(char)) for char in text)


def _point(code: int) -> bytes:
    if code < 128:
        return _spelled(chr(code))
    raw = [re.escape(chr(code).encode("utf-8", "surrogatepass"))]
    raw += [re.escape(bytes([code]))] if code < 256 else []
    return BACKSLASHES + _any([*_numbered(code), *raw])


def _numbered(code: int) -> Iterator[bytes]:
    """By number or name in backslash, percent and HTML escapes; BACKSLASHES stands before it."""
    numbers = [NUMBER_SIGN + b"0{0,6}%d" % code, NUMBER_SIGN + b"x0{0,6}%x" % code]
    yield AMPERSAND + _any([*numbers, *([NAMES[code].encode()] if code in NAMES else [])]) + SEMICOLON
    if code < 256:
        yield b"x%02x" % code
        yield PERCENT + b"%02x" % code
    if code < 0x10000:
        yield b"u%04x" % code
    else:
        pair = chr(code).encode("utf-16-be").hex().encode()
        yield b"u" + pair[:4] + BACKSLASHES + b"u" + pair[4:]
    yield b"u%08x" % code


@functools.lru_cache(maxsize=128)
def _spelled_digit(digit: str) -> bytes:
    """One base64 digit, in either alphabet."""
    both = {"+": "+-", "/": "/_"}.get(digit, digit)
    return _any(map(_spelled, both))


def _any(choices: Iterable[bytes]) -> bytes:
    return b"(?:" + b"|".join(choices) + b")"
