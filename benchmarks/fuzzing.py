"""Our fuzzing beside bare Schemathesis: the same document, server, seed and budget, in turn. Wanted: at most 1.15.

Both are timed as whole processes' work from the start of Schemathesis' process to its last request; bare Schemathesis
sends by itself, counts its requests and stops at the budget; from its second round on it finds Hypothesis' tables where
it has left them, and the first round does not count. The fuzzer's own rate is set out of the way.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from base64 import b64encode
from pathlib import Path
from tempfile import TemporaryDirectory

from house import PROFILE, served, told

from openbell.loading import load
from openbell.loading import secrets as resolved
from openbell.run import Options, run
from openbell.scenarios.fuzzing import schema_fuzzing

BUDGET = 200
ROUNDS = 7

BARE = """
import json, sys, requests, schemathesis
from requests.adapters import HTTPAdapter
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import from_schema
from openbell.documents import bearing
from openbell import fuzz_child as child
start = json.loads(sys.stdin.readline())
state, send = child.State(start["budget"], start["seed"]), HTTPAdapter.send
class Wire:
    def say(self, *_, **__): pass
    def of_case(self, case): pass
    def ask(self, request):
        if state.spent: raise child.BudgetExpired
        state.sent += 1
        return send(ADAPTER, request)
ADAPTER = HTTPAdapter()
child.replace_parts(state, Wire())
document = bearing(json.loads(start["document"]))
schema, _ = child.chosen(schemathesis.openapi.from_dict(document, config=child.configuration(start)), start)
for event in from_schema(schema).execute():
    if type(event).__name__ == "PhaseStarted": state.phase = event.phase.name.value
print(state.sent)
"""


def bare(url: str, secret: str, seed: int, folder: str) -> float:
    """Seconds that Schemathesis takes by itself."""
    pair = b64encode(f"fuzz:{secret}".encode()).decode()
    ask = urllib.request.Request(f"{url}/oauth/token", b"grant_type=client_credentials",  # noqa: S310
                                 {"Authorization": f"Basic {pair}"})
    token = json.load(urllib.request.urlopen(ask))["access_token"]  # noqa: S310
    document = urllib.request.urlopen(f"{url}/openapi.json").read().decode()  # noqa: S310
    start = {"document": document, "base_url": url, "seed": seed, "budget": BUDGET, "max_s": 120, "safe": False,
             "headers": {"Authorization": f"Bearer {token}"}, "left_out": [["POST", "/oauth/token"]],
             "parameters": {"path.account": "acct-fuzz", "path.symbol": "AAPL"}}
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", BARE], input=json.dumps(start) + "\n", text=True, check=True,
                          capture_output=True, cwd=folder)
    if int(done.stdout) != BUDGET:
        raise SystemExit(f"bare Schemathesis sent {done.stdout.strip()} requests instead of {BUDGET}")
    return time.monotonic() - began


async def ours(url: str, secret: str, seed: int) -> float:
    """Seconds that our scenario takes; nothing else runs beside it."""
    target = load(PROFILE, url)
    if target.fuzz is None:
        raise SystemExit("the profile has no [fuzz]")
    fast = target.fuzz.model_copy(update={"max_rate": 1e6, "budget": BUDGET})
    target = target.model_copy(update={"fuzz": fast, "target": target.target.model_copy(update={"max_rate": 1e6})})
    known = resolved(target, {**os.environ, "OPENBELL_REFERENCE_SECRET": secret}, PROFILE.parent)
    with TemporaryDirectory() as folder:
        options = Options(out=Path(folder), only=("FUZ*",), seed=seed, scenarios=(schema_fuzzing,))
        return (await run(target, "profiles/reference.toml", known, options)).seconds


async def main() -> None:
    """Prints the seconds of each round, and the ratio of the medians."""
    rounds = []
    with TemporaryDirectory() as folder:
        for seed in range(ROUNDS):
            async with served("--token-lifetime", "600") as (url, secret):
                alone = await asyncio.to_thread(bare, url, secret, seed, folder)
            async with served("--token-lifetime", "600") as (url, secret):
                rounds.append((alone, await ours(url, secret, seed)))
            print(f"seed {seed}: bare {rounds[-1][0]:.2f} s, ours {rounds[-1][1]:.2f} s", flush=True)
    ratios = sorted(mine / alone for alone, mine in rounds[1:])
    print(f"{BUDGET} requests: {statistics.median(ratios):.2f} × bare Schemathesis (median of {len(ratios)} rounds "
          f"after the first, from {ratios[0]:.2f} to {ratios[-1]:.2f})")


told(main())
