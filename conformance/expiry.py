"""Expiry of credentials: a token works until it ends, and not after, on kept-alive and fresh connections alike.

A token is issued at an instant between its request and its reply, and `expires_in` may be rounded: so a probe that
finished before the earliest end must be accepted, one that was sent after the latest end plus leeway must be refused,
and those between decide nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from openbell.events import Exchange, Recording
from openbell.profile import Profile
from openbell.registry import MUST, Observation, broken, check, holds, undecided
from openbell.scenarios.expiry import margin, token_expiry, watched
from openbell.target import Subject, outcome

ROUNDING_S = 1.0
TWICE = 2
NEAR_S = 1.5


@dataclass(frozen=True)
class Life:
    """What is known of the token, and the probes with it; times in monotonic seconds."""

    must_work_until: float
    end: float
    must_fail_after: float
    lifetime_s: float
    leeway_s: float
    kept: tuple[Exchange, ...]
    fresh: tuple[Exchange, ...]

    @property
    def probes(self) -> tuple[Exchange, ...]:
        """All probes in the order of sending."""
        return tuple(sorted((*self.kept, *self.fresh), key=lambda e: e.sent))


def _life(recording: Recording) -> Life | None:
    fact = next(recording.facts("lifetime"), None)
    if fact is None:
        return None
    sent, done, lifetime, leeway = (float(fact.data[n]) for n in ("sent", "done", "lifetime_s", "leeway_s"))
    return Life(sent + lifetime - margin(lifetime), done + lifetime, done + lifetime + leeway + ROUNDING_S, lifetime,
                leeway, tuple(recording.exchanges("kept")), tuple(recording.exchanges("fresh")))


@check("CRD-001", title="Expiry is honoured promptly and not early", level=MUST, per="principal", where=watched,
       promise="credentials.expiry", evidence=(token_expiry,), minimum=3,
       sources=("Conventions: token expiration and rotation are automated",
                "RFC 6749 5.1: expires_in counts from the reply's generation",
                "RFC 6750 3.1: an expired token gets 401 with invalid_token"),
       remedy="Compare the token's end with the clock on every request, never once per connection or session; bound "
              "what a gateway remembers of a token by the token's own end.")
def token_ends(recording: Recording, target: Profile, subject: Subject) -> Iterator[Observation]:
    """Accepted until just before the announced end, refused once end and leeway are over, on both connections."""
    life = _life(recording)
    controls = (*life.probes[:1], *recording.exchanges("control")) if life else ()
    if life is None or len(controls) < TWICE or not all(_ok(target, e) for e in controls):
        yield undecided("control_failed", "a new token was not accepted at the start or at the end", *controls)
        return
    if open_to_all := [e for e in recording.exchanges("anonymous") if _ok(target, e)]:
        yield undecided("precondition", "the operation answers without a token as well", *open_to_all)
        return
    yield from _early(life, target, alone=bool(target.credential[subject.name].sacrificial))
    yield from _outlived(life, target)
    yield from _kept_outlived(life, target)
    yield from _refused(life, target)


def _ok(target: Profile, exchange: Exchange) -> bool:
    return outcome(target, "ok", exchange)


def _no(target: Profile, exchange: Exchange) -> bool:
    return outcome(target, "expired", exchange) or exchange.status == 401


def _early(life: Life, target: Profile, *, alone: bool) -> Iterator[Observation]:
    """What finished before the last seconds of the token's life is accepted; the last such probe decides."""
    probes = [e for e in life.probes if e.done < life.must_work_until]
    early, last = next((e for e in probes if _no(target, e)), None), probes[-1:]
    if early and not alone:
        yield undecided("precondition", "a newer token of the same principal may have ended this one", early)
    elif early:
        yield broken("refused-early", f"a token of {life.lifetime_s:g} s works until {margin(life.lifetime_s):g} s "
                     "before its end", f"status {early.status} {life.end - early.done:.1f} s before its end", early)
    elif last and _ok(target, last[0]) and last[0].sent > life.must_work_until - NEAR_S:
        yield holds(*last)
    else:
        yield undecided("noisy", "no success was seen just before the token's last seconds", *last)


def _outlived(life: Life, target: Profile) -> Iterator[Observation]:
    """What was sent after the end and its leeway is refused."""
    late = [e for e in life.probes if e.sent > life.must_fail_after and _ok(target, e)]
    for probe in late[:1]:
        yield broken("outlives-expiry", f"refused after {life.lifetime_s:g} s and {life.leeway_s:g} s of leeway",
                     f"status {probe.status} {probe.sent - life.end:.1f} s after its end", probe)


def _kept_outlived(life: Life, target: Profile) -> Iterator[Observation]:
    """The connection that the token was used on before its end knows no more than a fresh one."""
    used = {e.conn for e in life.kept if e.done < life.end and _ok(target, e)}
    pairs = [(f, e) for e in life.kept if e.sent > life.end and e.conn in used and _ok(target, e)
             and (f := _fresh_before(life, e)) and _no(target, f)]
    if len(pairs) >= TWICE:
        yield broken("kept-alive-outlives", "the kept-alive connection refuses the token like a fresh one",
                     f"accepted {len(pairs)} times on the kept-alive connection after a fresh one had refused it",
                     *(e for pair in pairs for e in pair))
    elif pairs:
        yield undecided("noisy", "the kept-alive connection outlived the fresh one once", *pairs[0])


def _fresh_before(life: Life, probe: Exchange) -> Exchange | None:
    return max((f for f in life.fresh if f.done < probe.sent), key=lambda f: f.sent, default=None)


def _refused(life: Life, target: Profile) -> Iterator[Observation]:
    """The last word of each kind of connection is a refusal that came after the end."""
    for kind, probes in (("fresh", life.fresh), ("kept-alive", life.kept)):
        last = probes[-1:]
        if last and last[0].sent > life.end and _no(target, last[0]):
            yield holds(*last)
        elif not (last and _ok(target, last[0])):
            yield undecided("no_reply", f"on the {kind} connection nothing shows that the token was refused", *last)
