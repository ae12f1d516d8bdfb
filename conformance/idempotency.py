"""One key, one effect: counted by what the listing holds, never by what the replies say."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from openbell.events import Exchange, Fact, Recording
from openbell.profile import Profile
from openbell.registry import MUST, Observation, broken, check, holds, undecided
from openbell.scenarios.idempotency import concurrent_duplicates, keyed, retry_after_lost_reply
from openbell.target import Subject, made_id, outcome

DRAFT = "draft-ietf-httpapi-idempotency-key-header-07 2.6: a retry gets the result of the completed request"


def _counts(recording: Recording) -> dict[str, Fact]:
    return {fact.data["label"]: fact for fact in recording.facts("counted")}


def _distinct(count: Fact) -> list[str]:
    """What a listing held, each once: a row that is listed twice is no second effect; what has no id is one each."""
    ids = count.data["ids"]
    return [id_ for i, id_ in enumerate(ids) if not id_ or id_ not in ids[:i]]


def _ok(exchange: Exchange) -> bool:
    return exchange.status is not None and 200 <= exchange.status < 300


def _answered(exchange: Exchange, target: Profile) -> bool:
    """Whether the operation itself answered: not the guard or the limiter before it."""
    return exchange.status is not None and not any(
        outcome(target, name, exchange) for name in ("unauthenticated", "throttled"))


def _id(exchange: Exchange, target: Profile, subject: Subject) -> str:
    content = exchange.reply.content if exchange.reply else b""
    return made_id(target.operation[subject.name], content)


def _pages(recording: Recording, *counts: Fact) -> list[Exchange]:
    """The pages on which a count rests."""
    wanted = {n for fact in counts for n in fact.data["pages"]}
    return [e for e in recording.exchanges() if e.n in wanted]


@check("IDM-001", title="A retry with the same key has one effect", level=MUST, per="operation", where=keyed,
       promise="idempotency.retry", evidence=(retry_after_lost_reply,), minimum=1,
       sources=(DRAFT, "AIP-155: the current state may stand for the first reply"),
       remedy="Store the key with the effect, in one transaction, before the reply is sent; answer a retry from what "
              "was stored.")
def one_effect(recording: Recording, target: Profile, subject: Subject) -> Iterator[Observation]:
    """A request whose reply was lost has one effect, however often it is sent again, and the retry learns of it."""
    counts = _counts(recording)
    lost = next((e for e in recording if isinstance(e, Exchange) and e.label == "lost"), None)
    settled, after = counts.get("settled"), counts.get("after")
    retries = tuple(recording.exchanges("retry"))
    if lost is None or settled is None or after is None or not retries:
        return
    ids = _distinct(after)
    shown: tuple[Exchange | Fact, ...] = (lost, *retries, *_pages(recording, settled, after), after)
    if len(ids) > 1:
        yield broken("second-effect", "one effect", f"{len(ids)}: {', '.join(ids)}", *shown)
    elif not settled.data["ids"] or lost.status is not None:
        yield undecided("vacuous", "the first request had no effect, or its reply was not lost", lost, settled)
    else:
        found = _told(retries, settled.data["ids"][0], target, subject, shown)
        yield found if ids or found.state != "holds" else undecided(
            "precondition", "the listing no longer tells of what was made", settled, after)


def _told(retries: tuple[Exchange, ...], made: str, target: Profile, subject: Subject,
          shown: tuple[Exchange | Fact, ...]) -> Observation:
    """Whether the retries tell of what was made: by their result, or by a conflict that names it."""
    others = [e for e in retries if _ok(e) and _id(e, target, subject) != made]
    if others:
        return broken("another-result", f"the result {made}", _id(others[0], target, subject) or "no id", *others)
    if not any(_answered(e, target) for e in retries):
        return undecided("no_reply", "no retry was let in and answered", *retries)
    if not any(_ok(e) or (e.reply and made.encode("utf-8", "surrogatepass") in e.reply.content) for e in retries):
        return broken("hidden-result", f"the result {made}", f"{retries[-1].status} on every retry", *shown)
    return holds(*shown)


@check("IDM-003", title="Concurrent requests with the same key have one effect", level=MUST, per="operation",
       where=keyed, promise="idempotency.concurrent", evidence=(concurrent_duplicates,), minimum=1,
       sources=(DRAFT, "draft-ietf-httpapi-idempotency-key-header-07 2.7: a retry that comes too early gets 409"),
       remedy="Claim the key by a unique constraint before the work begins; answer the others with 409, or with the "
              "result once there is one.")
def one_of_many(recording: Recording, target: Profile, _subject: Subject) -> Iterator[Observation]:
    """Of many equal requests at once exactly one has an effect, and at least one tells of it."""
    for label, count in _counts(recording).items():
        number, ids = label.partition(":")[2], _distinct(count)
        sent = sorted(recording.exchanges(f"once:{number}"), key=lambda e: e.sent)
        shown: tuple[Exchange | Fact, ...] = (*sent[:4], *_pages(recording, count), count)
        if len(ids) > 1:
            yield broken("second-effect", "one effect", f"{len(ids)}: {', '.join(ids)}", *shown)
        elif not any(b.sent < a.done for a, b in pairwise(sent)):
            yield undecided("vacuous", "no two of the requests overlapped", *shown)
        elif not any(_answered(e, target) for e in sent):
            yield undecided("no_reply", "none of the requests was let in and answered", *shown)
        elif not any(map(_ok, sent)) and any(e.status is None for e in sent):
            yield undecided("no_reply", "the one that succeeded may be one whose reply did not come", *shown)
        elif not any(map(_ok, sent)):
            yield broken("none-succeeds", "one success", "none", *shown)
        elif not ids:
            yield undecided("precondition", "the listing does not tell of what was made", *shown)
        else:
            yield holds(*shown)
