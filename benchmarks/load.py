"""Our arrivals beside stock Locust, in one run: lateness, a stall of two seconds, requests per CPU-second, workers.

The target is the tests' stub on the first core; the generator has the second to itself. Stock Locust's users wait by
`constant_throughput`, which is how its documentation holds a rate.
"""

import json
import math
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests" / "load"))
from stubbed import PROFILE, whole  # noqa: E402

LOCUST = Path(sys.executable).with_name("locust")
STOCK = """
import json, sys, time
from locust import FastHttpUser, constant, constant_throughput, events, task

class Stock(FastHttpUser):
    wait_time = {wait}
    @task
    def read(self):
        self.client.get("/read")

begun = []

@events.spawning_complete.add_listener
def begin(**_):
    begun[:] = begun or [time.process_time()]

@events.quitting.add_listener
def end(environment, **_):
    total = environment.stats.total
    print("STOCK " + json.dumps({{
        "n": total.num_requests, "cpu": time.process_time() - begun[0],
        "p95": total.get_response_time_percentile(0.95) / 1e3, "p99": total.get_response_time_percentile(0.99) / 1e3}}))
"""


def pinned(core):
    """Runs a child on one core."""
    cores = sorted(os.sched_getaffinity(0))
    return lambda: os.sched_setaffinity(0, {cores[core % len(cores)]})


@contextmanager
def stub(*arguments):
    """The stub on the first core; after the block `told` holds what it saw."""
    script = HERE.parent / "tests" / "load" / "stub.py"
    process = subprocess.Popen(
        [sys.executable, script, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        preexec_fn=pinned(0))  # noqa: PLW1509 - no threads here
    told = {"url": json.loads(process.stdout.readline())["ready"]}
    try:
        yield told
    finally:
        process.stdin.close()
        told.update(json.loads(process.stdout.readline() or b"{}"))
        process.wait(10)
        process.stdout.close()


def ours(url, *arguments, both=False):
    """One load run on the second core, or on both; gives its load.json and its facts."""
    with TemporaryDirectory() as folder:
        profile = Path(folder) / "stub.toml"
        profile.write_text(PROFILE.format(url=url, timeout=10).replace("max_rate = 2000", "max_rate = 100000"))
        done = subprocess.run(
            [sys.executable, "-m", "openbell", "load", "steady", profile, "--no-scenarios", "--slo", "errors < 5%",
             "--out", folder, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False,
            preexec_fn=None if both else pinned(1))
        found = next(Path(folder).glob("*/load.json"), None)
        if found is None:
            raise SystemExit(done.stderr)
        lines = found.with_name("events.jsonl").read_text().splitlines()
        return json.loads(found.read_text()), [e for e in map(json.loads, lines) if e["kind"] == "fact"]


def stock(url, users, wait, seconds, both=False):
    """Stock Locust on the second core, or on both; gives what it says of itself."""
    with TemporaryDirectory() as folder:
        (Path(folder) / "stock.py").write_text(STOCK.format(wait=wait))
        done = subprocess.run(
            [LOCUST, "-f", "stock.py", "--headless", "-u", str(users), "-r", str(users), "-t", f"{seconds}s", "-H", url,
             "--only-summary"], cwd=folder, capture_output=True, text=True, timeout=120, check=False,
            preexec_fn=None if both else pinned(1))
    line = next(x for x in done.stdout.splitlines() if x.startswith("STOCK "))
    return json.loads(line[6:])


def median(values):
    """The middle one."""
    return sorted(values)[len(values) // 2]


def lateness():
    """Schedule lag at 500 arrivals per second: the median, and the median over slices of each slice's p99."""
    with stub() as target:
        data, _ = ours(target["url"], "--peak", 500, "--duration", 8)
    lag = whole(data, "lag")
    windows = [v for v in data["series"]["lag_p99"] if v is not None]
    print(f"lateness at 500/s: p50 {lag.percentile(0.5) * 1e3:.2f} ms, p99 of a slice {median(windows):.2f} ms "
          f"(idle {data['health']['steady']['idle'][0]:.0%}); wanted 0.5 and 5")
    with stub() as target:
        said = stock(target["url"], 50, "constant_throughput(10)", 8)
    print(f"  stock Locust, constant_throughput: {said['n']} of 4000 requests sent, lateness not measured")


def arithmetic(told, begin, plan):
    """p95 and p99 of what the stall makes of the plan's arrivals."""
    low, high = told["stall"]
    truth = sorted(high - begin - at if low <= begin + at < high else 0.0 for at in plan)
    return [truth[math.ceil(p * len(truth)) - 1] for p in (0.95, 0.99)]


def stalled():
    """Two seconds without an answer at 200 per second, in twenty seconds."""
    from openbell.loadprofiles.plan import LoadPlan, choices
    from openbell.loadprofiles.shape import all_shapes
    shape = all_shapes()["steady"]
    plan = [a.at for a in LoadPlan(shape, 200, 20, "uniform", 0, choices(shape, {"read": ("read", 1.0)}),
                                   ("anybody",)).arrivals()]
    for users in (200, 20):
        with stub("--stall", 10, 2) as target:
            data, facts = ours(target["url"], "--peak", 200, "--duration", 20, "--process", "uniform", "--users", users)
        begin = next(f["data"]["begin"] for f in facts if f["name"] == "load_begin")
        seen, wanted = whole(data, "latency"), arithmetic(target, begin, plan)
        ratios = [seen.percentile(p) / w for p, w in zip((0.95, 0.99), wanted, strict=True)]
        print(f"stall of 2 s at 200/s, {users} users: {data['arrivals']['finished']} of {len(plan)}, "
              f"p95 {ratios[0]:.2f} and p99 {ratios[1]:.2f} of arithmetic ({wanted[0]:.2f} s, {wanted[1]:.2f} s); "
              f"wanted 0.9 to 1.1")
    with stub("--stall", 10, 2) as target:
        said = stock(target["url"], 20, "constant_throughput(10)", 20)
    print(f"  stock Locust, 20 users: {said['n']} of 4000, p95 {said['p95'] / wanted[0]:.3f} and "
          f"p99 {said['p99'] / wanted[1]:.3f} of arithmetic")


READER = """
from locust import FastHttpUser, task

class Reader(FastHttpUser):
    @task
    def read(self):
        self.client.get("/read")
"""


def per_second(url, peak, users_file=None):
    """Requests of ours per CPU-second of the worker; more than it can do waits in line, so it never pauses."""
    more = ["--locustfile", users_file] if users_file else []
    data, _ = ours(url, "--peak", peak, "--duration", 4, "--users", 50, *more, both=True)
    return data["arrivals"]["finished"] / sum(data["cpu_s"])


def per_cpu():
    """Requests per CPU-second, stock and ours in turn, three rounds: at one rate, and without a pause."""
    with TemporaryDirectory() as folder:
        (users := Path(folder) / "users.py").write_text(READER)
        rows = {
            "stock FastHttpUser": (lambda u: _said(u, "constant_throughput(40)"), lambda u: _said(u, "constant(0)")),
            "our declared users": (lambda u: per_second(u, 2000), lambda u: per_second(u, 20000)),
            "FastHttpUser under our arrivals": (lambda u: per_second(u, 2000, users),
                                                lambda u: per_second(u, 8000, users)),
        }
        seen = {name: ([], []) for name in rows}
        for _ in range(3):
            for name, ways in rows.items():
                for found, way in zip(seen[name], ways, strict=True):
                    with stub() as target:
                        found.append(way(target["url"]))
    base = [median(v) for v in seen["stock FastHttpUser"]]
    for name, found in seen.items():
        told = [f"{median(v):.0f} ({median(v) / b:.2f} ×)" for v, b in zip(found, base, strict=True)]
        print(f"requests per CPU-second, {name}: at 2000/s {told[0]}, without a pause {told[1]}")


def _said(url, wait):
    said = stock(url, 50, wait, 6, both=True)
    return said["n"] / said["cpu"]


def striped():
    """The same arrivals for one worker and for two."""
    seen = []
    for workers in (1, 2):
        with stub() as target:
            data, _ = ours(target["url"], "--peak", 500, "--duration", 5, "--workers", workers, both=True)
        arrivals = data["arrivals"]
        seen.append((data["plan"]["hash"], arrivals["finished"], target["seen"], arrivals["differences"]))
    same = seen[0] == seen[1] and not seen[0][3]
    print(f"one worker and two: {seen[0][1]} and {seen[1][1]} arrivals, {seen[0][2]} and {seen[1][2]} seen by the "
          f"target, {'the same plan' if same else 'NOT the same'}")


if __name__ == "__main__":
    print(time.strftime("%Y-%m-%d"), f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, load {os.getloadavg()}")
    for part in (lateness, stalled, per_cpu, striped):
        part()
