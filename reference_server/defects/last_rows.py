"""The last row of a listing lost, at one length alone (PAG-001)."""

from dataclasses import replace

from openbell.reference_server.behaviour import Behaviour
from openbell.reference_server.defects import defect
from openbell.reference_server.listings import Listing, Mark, Reader
from openbell.reference_server.pages import Cut, after, cut, fetch


@defect("lone-last-row-lost", catches={"PAG-001": "incomplete"}, also={"PAG-002": "skipped"})
def lone_last_row_lost(behaviour: Behaviour) -> Behaviour:
    """A last page that would hold one row alone is left out."""

    def wrong(listing: Listing, mark: Mark, size: int, reader: Reader) -> Cut:
        right = cut(listing, mark, size, reader)
        if right.following is None or len(fetch(listing, reader, 2, after(listing, right.following))) > 1:
            return right
        return Cut(right.rows, None)

    return replace(behaviour, cut=wrong)
