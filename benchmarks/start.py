"""`openbell --version` beside a bare interpreter: medians of 15 runs in turn, in milliseconds."""

import statistics
import subprocess
import sys
import time

COMMANDS = {"python -c pass": ["-c", "pass"], "openbell --version": ["-m", "openbell", "--version"]}
taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
for _ in range(15):
    for name, arguments in COMMANDS.items():
        began = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
        taken[name].append((time.perf_counter() - began) * 1000)
for name, found in taken.items():
    print(f"{name:20} {statistics.median(found):6.0f} ms")
