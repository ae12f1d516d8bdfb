"""The target stops for two seconds: no arrival is lost, and the percentiles are those of arithmetic.

An arrival that is due s seconds before the end of the stall takes s seconds, whatever the generator does meanwhile.
The plan says what is due when, and the stub says when it stalled; so every latency is known beforehand.
"""

import json
import math

import pytest
from stubbed import stub, whole

from openbell.loadprofiles.plan import LoadPlan, choices
from openbell.loadprofiles.shape import all_shapes

RATE, SECONDS, AFTER, STALL = 200.0, 6.0, 3.0, 2.0


def expected(begin, end, run_begin):
    """The latencies by arithmetic, sorted: those that meet the stall; the rest take nothing."""
    shape = all_shapes()["steady"]
    plan = LoadPlan(shape, RATE, SECONDS, "uniform", 0, choices(shape, {"read": ("read", 1.0)}), ("anybody",))
    due = [run_begin + a.at for a in plan.arrivals()]
    return sorted(end - d if begin <= d < end else 0.0 for d in due)


def nearest_rank(values, part):
    return values[math.ceil(part * len(values)) - 1]


@pytest.mark.parametrize("users", [200, 20], ids=["a pool for a second", "a pool ten times too small"])
def test_a_stall_of_two_seconds_is_seen_as_arithmetic_says(tmp_path, users):
    with stub(tmp_path, "--stall", AFTER, STALL) as target:
        done, data = target.load("steady", "--peak", RATE, "--duration", SECONDS, "--process", "uniform", "--users",
                                 users, "--slo", "p99 < 250ms", "--no-scenarios")
    arrivals = data["arrivals"]
    assert arrivals["planned"] == arrivals["started"] == arrivals["finished"] == target.told["seen"]
    assert arrivals["differences"] == []
    begin = next(f["data"]["begin"] for f in _facts(tmp_path) if f["name"] == "load_begin")
    truth = expected(*target.told["stall"], begin)
    seen = whole(data, "latency")
    assert seen.n == len(truth)
    for part in (0.95, 0.99):
        assert seen.percentile(part) == pytest.approx(nearest_rank(truth, part), rel=0.1)
    # The service time of the few that were under way is no measure of it: with the small pool it hides the stall.
    if users == 20:
        assert whole(data, "service").percentile(0.95) < 0.5 * seen.percentile(0.95)
    # On a machine that is too busy the generator is late itself: then the verdict says so, and is never a pass.
    why = data["rules"][0]["why"]
    lame = why.startswith(("the generator", "worker"))
    assert (done.returncode, data["verdict"]) == ((2, "invalid") if lame else (1, "fail")), done.stderr


def _facts(folder):
    lines = next(folder.glob("out/*/events.jsonl")).read_text().splitlines()
    return [e for e in map(json.loads, lines) if e["kind"] == "fact"]
