"""The rate curve, its inversion, the plan: pure, so properties are tried on many of them."""

import math
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openbell.loadprofiles.asked import bell_at
from openbell.loadprofiles.curves import BadCurve, Decay, Line
from openbell.loadprofiles.plan import BadMix, LoadPlan, choices, total, weighted
from openbell.loadprofiles.shape import EVEN, LoadProfile, Phase, all_shapes

RATES = st.floats(0.01, 5000)
SECONDS = st.floats(0.01, 600)
OPERATIONS = {"submit": ("create", 1.0), "cancel": ("cancel", 1.0), "orders": ("list", 1.0), "read": ("read", 2.0)}


def numeric(segment, t, steps=2000):
    """The area under the curve up to `t`, by the midpoint rule."""
    width = t / steps
    return sum(segment.rate((i + 0.5) * width) for i in range(steps)) * width


@settings(deadline=None, max_examples=40)
@given(st.sampled_from([Line, Decay]), SECONDS, RATES, RATES, st.floats(0, 1))
def test_the_inversion_gives_back_the_cumulative_rate(kind, seconds, start, end, part):
    segment = kind(seconds, start, end)
    t = segment.inverse(part * segment.area)
    assert 0 <= t <= seconds
    # The midpoint rule itself is off by h^2/24 of the slope's change; 2000 steps leave 1e-5 of these curves.
    assert math.isclose(numeric(segment, t), part * segment.area, rel_tol=1e-4, abs_tol=1e-6)


@settings(deadline=None, max_examples=40)
@given(SECONDS, RATES)
def test_a_line_from_zero_starts_where_the_curve_does(seconds, end):
    up = Line(seconds, 0, end)
    assert up.inverse(0) == 0
    assert math.isclose(up.inverse(up.area / 4), seconds / 2)
    # Where the rate ends at 0 the root takes half of the digits away: sqrt(2^-52) = 1.5e-8.
    assert math.isclose(Line(seconds, end, 0).inverse(up.area), seconds, rel_tol=1e-7)


@pytest.mark.parametrize("rate", [-1, math.inf, math.nan])
def test_a_curve_that_is_negative_or_infinite_is_refused(rate):
    with pytest.raises(BadCurve):
        Line(1, rate, 1)
    with pytest.raises(BadCurve):
        Decay(1, 1, rate)


@pytest.mark.parametrize("seconds", [0, -1, math.inf, math.nan])
def test_a_segment_must_last_and_end(seconds):
    with pytest.raises(BadCurve):
        Line(seconds, 1, 1)


def made(name="market-open", **changes):
    shape = all_shapes()[name]
    given_ = {"peak": 200.0, "duration": 20.0, "seed": 3, "operations": choices(shape, OPERATIONS),
              "principals": ("full", "tenant")}
    return LoadPlan(shape, **(given_ | changes))


@pytest.mark.parametrize(("peak", "duration"), [(0, 10), (math.inf, 1), (1, math.nan), (1e6, 3600)])
def test_a_plan_of_nothing_or_of_too_much_is_refused(peak, duration):
    with pytest.raises(BadCurve):
        made(peak=peak, duration=duration)


@pytest.mark.parametrize("name", sorted(all_shapes()))
@pytest.mark.parametrize("process", ["poisson", "uniform"])
def test_arrivals_are_in_order_within_their_phase_and_as_many_as_the_curve_offers(name, process):
    plan = made(name, process=process)
    found = list(plan.arrivals())
    starts = list(plan.starts())
    assert [a.at for a in found] == sorted(a.at for a in found)
    assert all(starts[a.phase][1] <= a.at <= starts[a.phase][2] for a in found)
    # Uniform: exactly the area, rounded. Poisson: its standard deviation is the root of the area; five of them.
    room = 0.5 if process == "uniform" else 5 * math.sqrt(plan.expected)
    assert abs(len(found) - plan.expected) <= room
    assert math.isclose(sum(p.share for p in plan.profile.phases), 1)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32), st.integers(1, 7), st.sampled_from(["poisson", "uniform"]))
def test_any_number_of_workers_executes_the_same_arrivals(seed, workers, process):
    plan = made(seed=seed, duration=5.0, process=process)
    parts = [list(plan.arrivals(i, workers)) for i in range(workers)]
    assert sorted((a for p in parts for a in p), key=lambda a: a.number) == list(plan.arrivals())
    assert total(a.mark() for p in parts for a in p) == plan.counted[1]
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_the_hash_tells_plans_apart_and_nothing_else():
    assert made().hash == made().hash
    others = [made(seed=4), made(peak=201.0), made(process="uniform"), made("steady"), made(principals=("full",))]
    assert len({p.hash for p in [made(), *others]}) == 6


def test_the_mix_is_kept_and_roles_that_the_target_lacks_are_left_out():
    seen = Counter(a.operation for a in made(peak=2000.0).arrivals() if a.phase == 1)
    whole = seen.total()
    # 4 : 3 : 1 : 2 of ten; with n draws the standard deviation of a share is at most 1 / (2 sqrt n); five of them.
    for name, share in {"submit": 0.4, "cancel": 0.3, "orders": 0.1, "read": 0.2}.items():
        assert abs(seen[name] / whole - share) < 2.5 / math.sqrt(whole)
    only_reads = choices(all_shapes()["steady"], {"read": ("read", 1.0)})
    assert all(w.names == ("read",) for w in only_reads)
    with pytest.raises(BadMix):
        choices(all_shapes()["steady"], {"token": ("token", 1.0)})


def test_a_poisson_process_has_the_dispersion_of_one_and_uniform_arrivals_have_none():
    flat = LoadProfile("flat", "", (Phase("flat", 1.0, 1.0, 1.0, EVEN),))
    for process, low, high in (("poisson", 0.8, 1.2), ("uniform", 0.0, 0.05)):
        counts = LoadPlan(flat, 1000, 20, process, 5).bins(0.02)[:-1]
        mean = sum(counts) / len(counts)
        dispersion = sum((c - mean) ** 2 for c in counts) / (len(counts) - 1) / mean
        # 1000 bins: the index of a Poisson process is 1 with a standard deviation of sqrt(2 / 999) = 0.045.
        assert low <= dispersion <= high


def test_weights_of_zero_are_never_drawn():
    choice = weighted({"a": 1, "b": 0, "c": 3})
    assert {choice.draw(i / 100) for i in range(100)} == {"a", "c"}
    assert choice.draw(0.0) == "a"
    assert choice.draw(0.999999) == "c"


def test_a_mark_stands_for_the_whole_arrival():
    first = next(made().arrivals())
    for change in ({"number": 9}, {"at": 0.5}, {"operation": "x"}, {"principal": "y"}, {"phase": 2}):
        assert replace(first, **change).mark() != first.mark()


def test_the_bell_rings_today_or_tomorrow_or_at_an_instant():
    now = datetime(2026, 11, 26, 9, 0, 0, tzinfo=UTC)
    assert bell_at("09:30", now) - now.timestamp() == 1800
    assert bell_at("09:30:05", now) - now.timestamp() == 1805
    assert bell_at("08:00:00", now) - now.timestamp() == 23 * 3600
    assert bell_at("2026-11-26T10:30:00+01:00", now) - now.timestamp() == 1800
    for wrong in ("noon", "9", "25:00", "2026-13-01T00:00:00"):
        with pytest.raises(ValueError, match=r"."):
            bell_at(wrong, now)
