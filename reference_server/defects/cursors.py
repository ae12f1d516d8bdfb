"""Cursors and page sizes taken wrongly (PAG-002, PAG-007, PAG-010)."""

import base64
import json
from dataclasses import replace

from openbell.reference_server import cursors, pages
from openbell.reference_server.behaviour import Behaviour
from openbell.reference_server.cursors import Moment, Sealing
from openbell.reference_server.defects import defect
from openbell.reference_server.defects.page_cuts import by_offset
from openbell.reference_server.listings import Listing, Mark
from openbell.reference_server.settings import CLIENTS
from openbell.reference_server.values import Refused, refuse

EVERYTHING = 10**9


def readable(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


def read(text: str) -> object:
    try:
        return json.loads(base64.urlsafe_b64decode(text))
    except ValueError:
        raise refuse("bad_cursor") from None


def seal_offset(mark: Mark, listing: Listing, moment: Moment) -> str:
    del listing, moment
    return readable({"offset": mark[0]})


def unseal_offset(text: str, listing: Listing, moment: Moment) -> tuple[Listing, Mark]:
    del moment
    said = read(text)
    offset = said.get("offset") if isinstance(said, dict) else None
    if not isinstance(offset, int) or not 0 <= offset <= EVERYTHING:
        raise refuse("bad_cursor")
    return listing, (offset,)


@defect("offset-cursor", catches={"PAG-002": "skipped", "PAG-003": "repeated", "PAG-007": "readable"},
        also={"PAG-006": "cursor-row-skip"})
def offset_cursor(behaviour: Behaviour) -> Behaviour:
    """The cursor is an offset in base64."""
    return replace(behaviour, cut=by_offset, sealing=Sealing(seal_offset, unseal_offset))


@defect("tampered-first-page", catches={"PAG-007": "first-page"})
def tampered_first_page(behaviour: Behaviour) -> Behaviour:
    """A cursor that cannot be opened gives the first page."""

    def unseal(text: str, listing: Listing, moment: Moment) -> tuple[Listing, Mark]:
        try:
            return cursors.unseal(text, listing, moment)
        except Refused:
            return listing, ()

    return replace(behaviour, sealing=Sealing(unseal=unseal))


@defect("tampered-crashes", catches={"PAG-007": "server-error"}, also={"FUZ-001": "server-error"})
def tampered_crashes(behaviour: Behaviour) -> Behaviour:
    """A cursor that cannot be opened is a 500."""

    def unseal(text: str, listing: Listing, moment: Moment) -> tuple[Listing, Mark]:
        try:
            return cursors.unseal(text, listing, moment)
        except Refused as refused:
            raise RuntimeError("the cursor cannot be opened") from refused

    return replace(behaviour, sealing=Sealing(unseal=unseal))


def seal_account(mark: Mark, listing: Listing, moment: Moment) -> str:
    del moment
    return readable({"account": listing.account, "after": list(mark)})


def unseal_account(text: str, listing: Listing, moment: Moment) -> tuple[Listing, Mark]:
    """Trusts the account that the cursor names."""
    del moment
    said = read(text)
    after = said.get("after") if isinstance(said, dict) else None
    if not isinstance(said, dict) or not isinstance(after, list) or len(after) != 2 or not plain(after, said):
        raise refuse("bad_cursor")
    return replace(listing, account=said["account"]), tuple(after)


def plain(after: list[object], said: dict[str, object]) -> bool:
    """Whether what the cursor says can be asked of the database."""
    accounts = {client.account for client in CLIENTS.values()}
    return said.get("account") in {*accounts, None} and all(isinstance(one, str | int) for one in after)


@defect("cursor-carries-account", catches={"PAG-007": "foreign-data"})
def cursor_carries_account(behaviour: Behaviour) -> Behaviour:
    """The cursor names the account, anybody can read and change it, and it is trusted."""
    return replace(behaviour, sealing=Sealing(seal_account, unseal_account))


@defect("no-maximum", catches={"PAG-010": "over-maximum"})
def no_maximum(behaviour: Behaviour) -> Behaviour:
    """A page holds as many rows as are asked for."""

    def size(text: str | None) -> int:
        return pages.DEFAULT_SIZE if text is None else pages.number_of(text)

    return replace(behaviour, page_size=size)


@defect("negative-size", catches={"PAG-010": "negative-accepted"})
def negative_size(behaviour: Behaviour) -> Behaviour:
    """A negative page size is taken for the default."""

    def size(text: str | None) -> int:
        return pages.page_size(None if text and text.startswith("-") else text)

    return replace(behaviour, page_size=size)


@defect("default-unbounded", catches={"PAG-010": "default-unbounded"})
def default_unbounded(behaviour: Behaviour) -> Behaviour:
    """Without a page size everything comes on one page."""
    return replace(behaviour, page_size=lambda text: EVERYTHING if text is None else pages.page_size(text))
