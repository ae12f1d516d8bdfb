"""Which fields are secret by their name, and where their values stand.

The second net under the values that are known. In live traffic only names that mean nothing else count: a page token
must stay readable, and `token` may be the name of a coin. In the recordings of other tools, where no value is known
beforehand, any name that sounds secret counts.
"""

import base64
import binascii
import json
import re
from collections.abc import Container, Iterable, Iterator
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, unquote_plus

LONG = 16  # a parameter of ambiguous name holds a secret when its value is this long
LONGEST = 8192  # bytes of a member's value that are looked at
DEPTH = 3  # JSON strings that hold JSON are looked into this deep

HEADER = re.compile(
    r"(?:.*[-_])?(?:authorization|cookie|token|jwt|assertion|signature|sign|secret(?:[-_]key)?|password|passphrase"
    r"|credentials?|session(?:[-_]?id)?|otp|(?:api|access|auth|private)[-_]?key(?:[-_]id)?)|.*apikey"
)
SOUNDS_SECRET = re.compile(
    r"token|secret|passw|passphrase|pwd|(?:api|access|auth|private)[-_]?key|signature|credential|assertion"
    r"|authorization|cookie|bearer|session[-_]?id|sessid|jwt|csrf|xsrf|\botp\b|\bpin\b"
)
PAGING = re.compile(r"(?:page|paging|next|prev|previous|continuation|continue|cursor|sync|resume|scroll)[-_]?token")
PARAMETERS = re.compile(
    r"(?:access|refresh|id|auth|session|security|csrf|xsrf)[-_]?token|x-amz-(?:signature|credential|security-token)"
    r"|(?:client[-_]?)?secret|client[-_]?assertion|password|passwd|pwd|passphrase|(?:api|access|auth|private)[-_]?key"
    r"|signature|jwt|authorization|otp"
)
AMBIGUOUS = frozenset({"token", "key", "code", "auth", "sig", "sid", "ticket"})
WORDS = (
    ("access", "token"), ("refresh", "token"), ("id", "token"), ("auth", "token"), ("session", "token"),
    ("client", "assertion"), ("secret",), ("secret", "key"), ("private", "key"), ("api", "key"),
    ("password",), ("passwd",), ("passphrase",), ("authorization",),
)  # fmt: skip
MEMBERS = frozenset(joiner.join(words).encode() for words in WORDS for joiner in ("", "_", "-"))

AFTER_NAME = re.compile(rb"(?P<escape>\\{0,31}+)(?P<quote>[\"'])\s{0,20}+:\s{0,20}+")
NUMBER = re.compile(rb"-?\d[\w.+-]{0,60}")
FORM_VALUE = re.compile(rb"=([^&\s\"'<>;,\\]{0,%d})" % LONGEST)
QUOTES = {quote: re.compile(rb"(?<!\\)(\\*+)" + quote) for quote in (b'"', b"'")}

PARAMETER = re.compile("(?P<before>[?&#])(?P<name>[^=&#?⟨]{1,100})=(?P<value>(?:⟨[^⟩]{0,200}⟩|[^&#])*)")
USERINFO = re.compile(r"(?<=//)[^/?#@]*(?:⟨[^⟩]{0,200}⟩[^/?#@]*)*(?=@)")
COOKIE = re.compile(rb"(?P<name>[^=;]*=)?(?P<value>[^;]*)")
SCHEME = re.compile(
    rb"(?i)(bearer|basic|digest|dpop|hmac|negotiate|token|apikey|aws4-hmac-sha256|hawk|signature|mac|oauth)\s+(?=\S)"
)


class Member(NamedTuple):
    """A sensitive value within a text; `quotes` are to be put around what replaces it."""

    start: int
    end: int
    quotes: bytes


def is_header(name: bytes) -> bool:
    """Whether a header's value is secret, by its name in any case."""
    lowered = name.decode("latin-1").lower()
    return HEADER.fullmatch(lowered) is not None and not PAGING.search(lowered)


def is_parameter(name: str, value: str) -> bool:
    """Whether a URL parameter's value is secret, by its name in any case; ambiguous names need a long value."""
    lowered = name.lower()
    return PARAMETERS.fullmatch(lowered) is not None or (lowered in AMBIGUOUS and len(value) >= LONG)


def sounds_secret(name: str) -> bool:
    """Whether a member of a foreign recording is taken for secret, by its name in any case."""
    lowered = name.lower()
    return SOUNDS_SECRET.search(lowered) is not None and not PAGING.search(lowered)


def member_at(content: bytes, name_end: int) -> Member | None:
    """The value of the name that ends at `name_end`: a JSON member's, however deep its escaping, or a form field's."""
    if form := FORM_VALUE.match(content, name_end):
        return Member(*form.span(1), b"")
    after = AFTER_NAME.match(content, name_end)
    if after is None:
        return None
    quote = after["escape"] + after["quote"]
    if content.startswith(quote, after.end()):
        start = after.end() + len(quote)
        return Member(start, _closing(content, start, len(after["escape"]), after["quote"]), b"")
    number = NUMBER.match(content, after.end())
    return Member(*number.span(), quote) if number else None


def _closing(content: bytes, start: int, escapes: int, quote: bytes) -> int:
    """Where the string ends; a truncated one ends with the content, a longer one after LONGEST bytes."""
    limit = min(len(content), start + LONGEST)
    for found in QUOTES[quote].finditer(content, start, limit):
        if len(found[1]) % (2 * escapes + 2) == escapes:
            return found.end() - 1 - escapes
    return limit


def header_fields(headers: Iterable[tuple[bytes, bytes]], also: Container[str] = ()) -> Iterator[tuple[str, str]]:
    """Names (lower case) and secret values of header lines: without scheme, cookies one by one, Basic also opened."""
    for name, value in headers:
        lowered = name.decode("latin-1").lower()
        if lowered in ("cookie", "set-cookie"):
            pairs = list(COOKIE.finditer(value))[: 1 if lowered == "set-cookie" else None]
            yield from (("cookie", _text(pair["value"].strip())) for pair in pairs)
        elif lowered in also or is_header(name):
            yield from ((lowered, secret) for secret in _credentials(value.strip()))


def _credentials(value: bytes) -> Iterator[str]:
    scheme = SCHEME.match(value)
    secret = value[scheme.end() :] if scheme else value
    yield _text(secret)
    if scheme and scheme[1].lower() == b"basic":
        try:
            yield _text(base64.b64decode(secret, validate=True).partition(b":")[2])
        except binascii.Error:
            return


def url_fields(url: str, also: Container[str] = ()) -> Iterator[tuple[str, str]]:
    """Names and secret values in a URL's user information, query and fragment, as written and decoded."""
    for info in USERINFO.findall(url):
        yield from (("userinfo", part) for part in (info, unquote(info.partition(":")[2])))
    for found in PARAMETER.finditer(url):
        name, value = unquote_plus(found["name"]).lower(), found["value"]
        if name in also or is_parameter(name, value) or sounds_secret(name):
            yield from ((name, part) for part in (value, unquote(value), unquote_plus(value)))


def body_fields(content: bytes) -> Iterator[tuple[str, str]]:
    """Names (lower case) and secret values of a JSON or form body's members, JSON within strings included."""
    text = _text(content)
    parsed = _parsed(text)
    if parsed is not None:
        yield from _members(parsed)
    elif "=" in text and len(text.split(maxsplit=1)) == 1:
        pairs = parse_qsl(text)
        yield from ((name.lower(), value) for name, value in pairs if sounds_secret(name))
        for _, value in pairs:
            yield from _members(value)


def _members(root: object) -> Iterator[tuple[str, str]]:
    waiting: list[tuple[object, str, int]] = [(root, "", 0)]
    while waiting:
        value, name, depth = waiting.pop()
        if isinstance(value, dict):
            waiting.extend((member, key.lower(), depth) for key, member in value.items())
        elif isinstance(value, list):
            waiting.extend((item, name, depth) for item in value)
        elif isinstance(value, str):
            if sounds_secret(name):
                yield name, value
            if depth < DEPTH and (inner := _parsed(value)) is not None:
                waiting.append((inner, name, depth + 1))


def _parsed(text: str) -> object:
    """The JSON container that `text` is, its numbers as text; None if it is none."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        parsed: object = json.loads(text, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return None
    return parsed


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("latin-1")
