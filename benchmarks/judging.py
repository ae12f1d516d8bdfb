"""Exchanges judged per CPU-second on one core, and peak memory for two sizes of journal. Wanted: 5,000/s, flat."""

import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from house import PROFILE, served, told

from openbell.events import Exchange
from openbell.journal import Journal, read
from openbell.loading import load
from openbell.loading import secrets as resolved
from openbell.run import Options, judged, run

SIZES = (10_000, 100_000)


def judge_once(path: str) -> None:
    """Judges one journal in this process and prints its CPU seconds and peak memory in MB."""
    began = time.process_time()
    results = judged(Path(path))
    print(time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, len(results.results))


async def main() -> None:
    """Records a run, repeats its exchanges as foreign traffic, and judges that in fresh processes."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        async with served() as (url, secret):
            target = load(PROFILE, url)
            done = await run(target, "profiles/reference.toml", resolved(target, {"OPENBELL_REFERENCE_SECRET": secret},
                             PROFILE.parent), Options(out=folder, skip=("CRD-*", "RL-001", "RL-002", "RL-004")))
        recorded = read(done.folder / "events.jsonl")
        events = [e for e in recorded if isinstance(e, Exchange)]
        for size in SIZES:
            path = folder / f"{size}.jsonl"
            journal = Journal(path, recorded.header)
            for i in range(size):
                journal.append(replace(events[i % len(events)], scenario="(traffic)"))
            journal.close()
            said = subprocess.run([sys.executable, __file__, str(path)], capture_output=True, text=True, check=True)
            seconds, megabytes, _ = map(float, said.stdout.split())
            print(f"{size:>7} exchanges: {size / seconds:7.0f} per CPU-second, peak {megabytes:.0f} MB")


if len(sys.argv) > 1:
    judge_once(sys.argv[1])
else:
    told(main())
