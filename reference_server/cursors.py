"""Cursors are sealed: nobody but this process can read, make or change one, and each is bound to its client and query.

AES-GCM hides the place in the listing; the client, path and query are authenticated beside it, not carried.
"""

import base64
import json
import os
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from openbell.reference_server.listings import Listing, Mark
from openbell.reference_server.values import refuse

LIFETIME_S = 600.0
NONCE = 12
LONGEST = 2048


@dataclass(frozen=True)
class Moment:
    """What sealing needs beside the place: the process's key and the monotonic second."""

    key: bytes
    now: float


def binding(listing: Listing) -> bytes:
    """What a cursor is bound to: principal, path, filter and order."""
    parts = (listing.principal, listing.path, listing.query)
    return "\n".join(parts).encode()


def to_text(raw: bytes) -> str:
    """URL-safe base64 without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def from_text(text: str) -> bytes:
    """The bytes of URL-safe base64; refuses any other spelling of the same bytes."""
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise refuse("bad_cursor") from None
    if len(text) > LONGEST or to_text(raw) != text:
        raise refuse("bad_cursor")
    return raw


Bind = Callable[[Listing], bytes]


def seal_with(bind: Bind, mark: Mark, listing: Listing, moment: Moment) -> str:
    """The text of a cursor for a place, bound to what `bind` says."""
    nonce = os.urandom(NONCE)
    plain = json.dumps([mark, moment.now + LIFETIME_S]).encode()
    return to_text(nonce + AESGCM(moment.key).encrypt(nonce, plain, bind(listing)))


def open_with(bind: Bind, text: str, listing: Listing, moment: Moment) -> tuple[Listing, Mark]:
    """The place behind a cursor's text; refuses what was not sealed here for `bind`, and what is too old."""
    raw = from_text(text)
    try:
        plain = AESGCM(moment.key).decrypt(raw[:NONCE], raw[NONCE:], bind(listing))
    except (InvalidTag, ValueError):
        raise refuse("bad_cursor") from None
    mark, expires = json.loads(plain)
    if moment.now >= expires:
        raise refuse("cursor_expired")
    return listing, tuple(mark)


def seal(mark: Mark, listing: Listing, moment: Moment) -> str:
    """The text of a cursor for a place in a listing."""
    return seal_with(binding, mark, listing, moment)


def unseal(text: str, listing: Listing, moment: Moment) -> tuple[Listing, Mark]:
    """The listing and place behind a cursor's text; refuses bad_cursor or cursor_expired."""
    return open_with(binding, text, listing, moment)


@dataclass(frozen=True)
class Sealing:
    """How a cursor is sealed and opened: one part, for the two belong together."""

    seal: Callable[[Mark, Listing, Moment], str] = seal
    unseal: Callable[[str, Listing, Moment], tuple[Listing, Mark]] = unseal
