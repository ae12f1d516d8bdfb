"""Pagination in many seeds: wrong cursors are caught by the declared rule in each, right ones never."""

import sys

from house import checked, served, told

from openbell.reference_server.defects import all_defects

WRONG = ("offset-cursor", "boundary-row-again", "sort-key-only", "cursor-row-error")
RIGHT = ((), ("--benign", "snapshot"))
PAGES = ("PAG-001", "PAG-002", "PAG-003", "PAG-004", "PAG-006", "PAG-007")


async def main() -> None:
    """Prints for each server how many of its seeds gave what was wanted,."""
    wrong, right = (int(a) for a in sys.argv[1:3]) if len(sys.argv) > 2 else (20, 50)
    known = {d.name: d for d in all_defects()}
    for name in WRONG:
        async with served("--defect", name) as (url, secret):
            caught = 0
            for seed in range(wrong):
                done = await checked(url, secret, seed=seed, only=PAGES)
                found = {(r.check, f.rule) for r in done.results.results for f in r.findings}
                caught += all((c, r) in found for c, rules in known[name].catches.items() for r in rules)
        print(f"{name:20} caught in {caught} of {wrong} seeds", flush=True)
    for arguments in RIGHT:
        async with served(*arguments) as (url, secret):
            clean = 0
            for seed in range(right):
                done = await checked(url, secret, seed=seed, only=PAGES)
                clean += not any(r.verdict in {"fail", "error"} for r in done.results.results)
        print(f"{' '.join(arguments) or 'conforming':20} clean in {clean} of {right} seeds", flush=True)


told(main())
