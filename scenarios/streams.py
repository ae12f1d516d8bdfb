"""What the stream scenarios share: who opens a stream, how it is entered, how updates are made, and the truth of them.

The truth is what the target tells over REST of what it published. It does not depend on the stream.
"""

from __future__ import annotations

from openbell.api import Api, Made
from openbell.locate import pointer, text
from openbell.profile import Profile, Published
from openbell.registry import Claim, own, share
from openbell.scenarios.expiry import oauth_step
from openbell.scenarios.pages import Walk, whole
from openbell.session import Skip, Token, principal, sacrificial
from openbell.stream import Stream
from openbell.target import Subject

TRUTH = "truth"
TRUTH_PAGES = 50
BARRIER = b"barrier"
PONG_S = 5.0


def streamer(target: Profile, subject: Subject) -> str:
    """The principal that a stream is opened by: the profile's choice, one set aside for streams, else the full one."""
    return target.stream[subject.name].principal or sacrificial(target, "streams") or str(principal(target))


def claims(target: Profile, subject: Subject) -> tuple[Claim, ...]:
    """The stream's principal, shared."""
    return (share(f"principal:{streamer(target, subject)}"),)


def claims_alone(target: Profile, subject: Subject) -> tuple[Claim, ...]:
    """The stream's principal, owned where it is set aside: nobody else makes updates meanwhile."""
    by = streamer(target, subject)
    return (own(f"principal:{by}") if target.credential[by].sacrificial else share(f"principal:{by}"),)


def needs(target: Profile, subject: Subject) -> str | None:
    """What keeps every stream scenario back: nobody to open the stream."""
    return None if principal(target) else f"no principal opens stream.{subject.name}"


def quiet(target: Profile, subject: Subject) -> bool:
    """Whether silence can be seen on the stream: it is not busy, or all of them are."""
    return not target.stream[subject.name].busy or all(s.busy for s in target.stream.values())


def telling(target: Profile, subject: Subject) -> bool:
    """Whether updates can be had when they are wanted: the harness makes them, or they never cease."""
    stream = target.stream[subject.name]
    return stream.busy or stream.published is not None


def truthful(target: Profile, subject: Subject) -> bool:
    """Whether there is a truth to judge by: updates that the harness makes, with positions, and a listing of them."""
    stream = target.stream[subject.name]
    return bool(stream.published and stream.published.truth and stream.sequence)


async def lasting(api: Api, by: str) -> Token | None:
    """A token with its whole life before it, for a stream that is to be held; None where the principal has none."""
    return await api.mint(by) if oauth_step(api.target, by) else None


async def entered(api: Api, subject: Subject, label: str, *, by: str | None = None, token: Token | None = None,
                  muted: bool = False, receive_buffer: int | None = None) -> Stream:
    """A stream that is subscribed. Raises Skip where it cannot be entered."""
    by = by or streamer(api.target, subject)
    stream = await api.stream(subject.name, by=by, label=label, token=token, muted=muted,
                              receive_buffer=receive_buffer)
    answer = await stream.enter() if stream.open else "ended"
    if answer != "ok":
        if stream.ending and stream.ending.side == "harness":
            raise Skip("budget", f"stream.{subject.name} sent more than the harness reads, in a stream or in a run")
        shake = stream.handshake
        came = (shake.no_reply or shake.status) if shake else None
        raise Skip("precondition", f"stream.{subject.name} could not be entered: handshake {came}, scripts {answer}")
    return stream


def published(api: Api, subject: Subject) -> Published:
    """How updates are made. Raises Skip where the profile does not say."""
    found = api.target.stream[subject.name].published
    if found is None:
        raise Skip("precondition", f"stream.{subject.name} does not say what makes updates")
    return found


async def publish(api: Api, subject: Subject, label: str) -> Made:
    """Makes one update. Raises Skip where the target refuses."""
    before, by = api.newest(), streamer(api.target, subject)
    reply = await api.call(published(api, subject).by, by=by, label=label, lane="writer")
    made = api.newest()
    if made is None or made is before:
        raise Skip("precondition", f"{published(api, subject).by} made nothing: status {reply.status}")
    return made


async def heard(stream: Stream, made: Made | None, seconds: float) -> bool:
    """Whether the update of what was made comes in time; any new update where nothing was made."""
    told = stream.table.published
    if made is None or told is None:
        return bool(await stream.message(lambda m: m.kind == "update", seconds, len(stream.messages)))
    return bool(await stream.message(lambda m: m.kind == "update" and text(pointer(m.value, told.key)) == made.id,
                                     seconds))


async def news(api: Api, subject: Subject, control: Stream, label: str) -> bool:
    """Makes an update, or awaits one where they never cease; whether a control beside the probes gets it."""
    table = api.target.stream[subject.name]
    made = await publish(api, subject, label) if table.published else None
    got = await heard(control, made, table.within_s)
    api.note("news", label=label, id=made.id if made else "", heard=got, conn=control.conn)
    return got


async def settled(*streams: Stream) -> None:
    """A ping and its pong on each stream that is open: what the server had sent before has been read."""
    for stream in streams:
        if stream.open:
            stream.ping(BARRIER)
            await stream.pong(BARRIER, PONG_S)


async def read_truth(api: Api, subject: Subject) -> Walk:
    """Reads the listing of what was published, in the largest pages. Raises Skip where it does not end."""
    return await whole(api, str(published(api, subject).truth), streamer(api.target, subject), TRUTH, TRUTH_PAGES)
