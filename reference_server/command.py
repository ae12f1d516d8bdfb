"""The command line: one server with variants planted, or a matrix of many servers in one process.

`--matrix KIND:NAME`, repeatable, serves each on a port of its own and prints {"ready": {"KIND:NAME": URL}}; the kinds
are clean, defect, benign and null. The secret comes from the environment only.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

from openbell.reference_server.app import create_app
from openbell.reference_server.behaviour import AsgiApp, Behaviour
from openbell.reference_server.benign import all_benign
from openbell.reference_server.defects import all_defects
from openbell.reference_server.nulls import APPS, HOSTED, NULLS, Hosted
from openbell.reference_server.serve import serve_until_asked
from openbell.reference_server.settings import Settings
from openbell.reference_server.variants import Apply

SECRET = "OPENBELL_REFERENCE_SECRET"  # noqa: S105  (the variable's name)
WRONG_USAGE = 3


@dataclass(frozen=True)
class Options:
    """variants: `kind:name`, applied in turn to one server. matrix: the same, each a server of its own."""

    host: str = "127.0.0.1"
    port: int = 0
    variants: tuple[str, ...] = ()
    matrix: tuple[str, ...] = ()
    token_lifetime: float = 6.0
    log: Path | None = None
    database: Path | None = None
    stdin_ends: bool = False


class Unknown(Exception):
    """A variant that does not exist."""


def applies() -> dict[str, Apply]:
    """Every variant of the behaviour by `kind:name`."""
    found: dict[str, Apply] = {f"defect:{one.name}": one.apply for one in all_defects()}
    found |= {f"benign:{one.name}": one.apply for one in all_benign()}
    return {"clean:conforming": lambda behaviour: behaviour, **found}


def behaviour_of(names: Sequence[str]) -> Behaviour:
    """The default behaviour with the named variants applied in turn. Raises Unknown."""
    known = applies()
    if missing := [name for name in names if name not in known]:
        raise Unknown(f"no such defect or benign variant: {', '.join(missing)}")
    return reduce(lambda behaviour, name: known[name](behaviour), names, Behaviour())


def null_name(name: str) -> str | None:
    """The null server that is meant, if one is. Raises Unknown."""
    kind, _, rest = name.partition(":")
    if kind == "null" and rest not in NULLS:
        raise Unknown(f"no such null server: {rest}; there are {', '.join(NULLS)}")
    return rest if kind == "null" else None


@dataclass(frozen=True)
class Served:
    """What is to be served under which name: applications, and what needs a bare socket."""

    apps: dict[str, AsgiApp]
    hosted: dict[str, Hosted]


def made(options: Options, secret: str, closing: ExitStack) -> Served:
    """The servers that the options ask for; their databases go with `closing`. Raises Unknown."""
    settings = Settings(secret, options.token_lifetime, None if options.matrix else options.database, options.log)
    served = Served({}, {})
    wanted: dict[str, tuple[str, ...]] = {name: (name,) for name in options.matrix} or {"": options.variants}
    for shown, names in wanted.items():
        null = next(filter(None, map(null_name, names)), None)
        if null in HOSTED:
            served.hosted[shown] = HOSTED[null]
        elif null is not None:
            served.apps[shown] = APPS[null]
        else:
            app = create_app(behaviour_of(names), settings)
            closing.callback(app.close)
            served.apps[shown] = app
    return served


def run(options: Options, secret: str) -> int:
    """Serves until asked to end; the exit code is 3 for unknown names and addresses that cannot be had, else 0."""
    with ExitStack() as closing:
        try:
            served = made(options, secret, closing)
            asyncio.run(
                serve_until_asked(
                    served.apps, options.host, options.port, stdin_ends=options.stdin_ends, hosted=served.hosted
                )
            )
        except (Unknown, OSError) as error:
            sys.stderr.write(f"{error}\n")
            return WRONG_USAGE
    return 0


def parser() -> argparse.ArgumentParser:
    """The options as they are written."""
    made_here = argparse.ArgumentParser(prog="python -m openbell.reference_server", description=__doc__)
    made_here.add_argument("--host", default="127.0.0.1")
    made_here.add_argument("--port", type=int, default=0)
    made_here.add_argument("--defect", action="append", default=[], metavar="NAME")
    made_here.add_argument("--benign", action="append", default=[], metavar="NAME")
    made_here.add_argument("--null", metavar="NAME", choices=NULLS)
    made_here.add_argument("--matrix", action="append", default=[], metavar="KIND:NAME")
    made_here.add_argument("--token-lifetime", type=float, default=6.0, metavar="S")
    made_here.add_argument("--log", type=Path, metavar="FILE")
    made_here.add_argument("--database", type=Path, metavar="FILE", help="overwritten, and kept; not with --matrix")
    made_here.add_argument("--stdin-ends", action="store_true", help="end when standard input ends")
    return made_here


def read(arguments: Sequence[str] | None) -> Options:
    """The options of a command line."""
    given = parser().parse_args(arguments)
    planted = [f"defect:{name}" for name in given.defect] + [f"benign:{name}" for name in given.benign]
    return Options(
        host=given.host,
        port=given.port,
        variants=(*planted, *([f"null:{given.null}"] if given.null else [])),
        matrix=tuple(given.matrix),
        token_lifetime=given.token_lifetime,
        log=given.log,
        database=given.database,
        stdin_ends=given.stdin_ends,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """`python -m openbell.reference_server`."""
    options = read(arguments)
    secret = os.environ.get(SECRET)
    if not secret:
        sys.stderr.write(f"the environment variable {SECRET} is not set\n")
        sys.exit(WRONG_USAGE)
    sys.exit(run(options, secret))
