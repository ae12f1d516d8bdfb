"""20 full runs while two processes keep both cores busy. Wanted: the same verdicts every time."""

import subprocess
import sys
from collections import Counter

from house import checked, served, told

BUSY = "while True: pass"


async def main() -> None:
    """Prints how often each set of verdicts came, and what differed from the most frequent one."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    busy = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(2)]
    seen: Counter[frozenset[str]] = Counter()
    try:
        for number in range(runs):
            async with served() as (url, secret):
                done = await checked(url, secret, seed=number)
            seen[frozenset(f"{r.check} {r.subject} {r.verdict}" for r in done.results.results)] += 1
            print(f"run {number + 1}: exit {done.results.exit_code}, {done.seconds:.1f} s", flush=True)
            for r in done.results.results:
                if r.verdict != "pass":
                    print(f"    {r.check} {r.subject} {r.verdict}: {r.summary}", flush=True)
    finally:
        for process in busy:
            process.kill()
            process.wait()
    usual = seen.most_common(1)[0][0]
    for verdicts, count in seen.items():
        print(f"{count} of {runs}: " + ("the same" if verdicts == usual else ", ".join(sorted(verdicts - usual))))


told(main())
