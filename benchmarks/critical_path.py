"""A full run's wall time beside its critical path, for two token lifetimes. Wanted: at most 1.25."""

import sys

from house import checked, served, told


async def main() -> None:
    """Prints a line for each lifetime in seconds."""
    for lifetime in sys.argv[1:] or ["6", "40"]:
        async with served("--token-lifetime", lifetime) as (url, secret):
            done = await checked(url, secret)
        ratio = done.seconds / done.critical_path
        print(f"lifetime {lifetime:>3} s: {done.seconds:5.1f} s, {ratio:.2f} × its critical path of "
              f"{done.critical_path:.1f} s, exit {done.results.exit_code}")


told(main())
