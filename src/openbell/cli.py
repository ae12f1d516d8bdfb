"""The command line: one short function per command; heavy imports happen inside the commands that need them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from openbell import __version__

F = TypeVar("F", bound=Callable[..., Any])
WRONG_USAGE, HARNESS_FAILED = 3, 4


class Group(click.Group):
    """Commands in the order in which they are declared."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """The names of the commands."""
        return list(self.commands)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="openbell")
def openbell() -> None:
    """Drives a financial API, records what happened, and judges the record.

    Exit codes: 0 conforms, 1 does not conform, 2 not decided, 3 wrong usage or profile, 4 the harness failed,
    130 interrupted.
    """


def run_options(command: F) -> F:
    """The options that every conformance run has."""
    for option in reversed((
        click.option("--only", multiple=True, metavar="ID", help="Only these checks (PAG-002, PAG-*). Repeatable."),
        click.option("--skip", multiple=True, metavar="ID", help="Not these checks. Repeatable."),
        click.option("--area", "areas", multiple=True, metavar="AREA", help="Only checks of these areas. Repeatable."),
        click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of all choices."),
        click.option("--max-rate", type=click.FloatRange(0, min_open=True), metavar="N",
                     help="At most N requests in any second."),
        click.option("--max-time", type=click.FloatRange(0, min_open=True), metavar="S",
                     help="Stop after S seconds; what is unfinished is inconclusive."),
        click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("openbell-results"),
                     show_default=True, help="Where the run's folder goes."),
    )):
        command = option(command)
    return command


@openbell.command()
@run_options
@click.option("--token-lifetime", type=click.FloatRange(1, 3600), default=6.0, show_default=True, metavar="S",
              help="Lifetime of the reference server's tokens.")
def demo(token_lifetime: float, **options: Any) -> None:
    """Check the reference server and write the report."""
    from openbell import commands
    sys.exit(commands.demo(token_lifetime, options))


@openbell.command()
@click.argument("target", type=click.Path(path_type=Path))
@run_options
@click.option("--base-url", metavar="URL", help="Check this address instead of the profile's base_url.")
@click.option("--accepted", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="FILE",
              help="accepted.toml: known deviations, by check, subject and rules.")
@click.option("--allow", multiple=True, type=click.Choice(["read", "write", "disrupt", "load"]),
              help="Narrow what the profile allows. Repeatable.")
@click.option("--wait-ready", type=click.FloatRange(0), default=0.0, metavar="S",
              help="Wait up to S seconds for the target to accept connections.")
@click.option("--plan", is_flag=True, help="Send nothing; say what would be sent.")
@click.option("--probe", is_flag=True, help="Send one authenticated read per operation; show which locators matched.")
def check(target: Path, base_url: str | None, **options: Any) -> None:
    """Check the API that the profile TARGET describes."""
    from openbell import commands
    sys.exit(commands.check(target, base_url, options))


@openbell.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--target", type=click.Path(path_type=Path), metavar="PROFILE",
              help="The profile that HAR files are judged by.")
@click.option("--only", multiple=True, metavar="ID", help="Only these checks. Repeatable.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Where results and reports go.")
def judge(files: tuple[Path, ...], target: Path | None, only: tuple[str, ...], out: Path | None) -> None:
    """Judge a journal or HAR files offline.

    The reports are rendered again. The journal is judged where it lies, or in the folder of --out.
    """
    from openbell import commands
    sys.exit(commands.judge(files, target, only, out))


@openbell.command()
@click.argument("profile", required=False, metavar="PROFILE")
@click.argument("target", required=False, type=click.Path(path_type=Path), metavar="TARGET")
@click.option("--list", is_flag=True, help="List the load profiles.")
@click.option("--peak", type=float, default=50.0, show_default=True, metavar="N",
              help="The highest rate, in arrivals per second; of a storm, the streams that are held.")
@click.option("--duration", type=float, default=20.0, show_default=True, metavar="S", help="Seconds of the whole.")
@click.option("--start-at", metavar="TIME", help="Ring the bell then: 09:30:00, or an ISO instant.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of all choices.")
@click.option("--process", type=click.Choice(["poisson", "uniform"]), default="poisson", show_default=True,
              help="How arrivals are spaced along the curve.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes that share it.")
@click.option("--users", type=click.IntRange(1, 20000), help="Sessions that take arrivals [default: one second's].")
@click.option("--sample", type=click.IntRange(1, 20000), default=500, show_default=True,
              help="About how many exchanges are recorded and judged.")
@click.option("--slo", multiple=True, metavar="RULE",
              help="A rule in the place of the profile's: 'open: p99(submit_order) < 250ms'. Repeatable.")
@click.option("--abort", multiple=True, metavar="RULE", help="End the run once this rule is broken. Repeatable.")
@click.option("--scenarios/--no-scenarios", default=True, show_default=True,
              help="Run the scenarios of pagination, limits and streams during the burst.")
@click.option("--quiet/--no-quiet", default=True, show_default=True,
              help="Run the same checks in quiet first, to tell what broke only under load.")
@click.option("--locustfile", type=click.Path(path_type=Path), metavar="FILE",
              help="Arrivals are executed by the Locust users of this file.")
@click.option("--base-url", metavar="URL", help="Use this address instead of the profile's base_url.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("openbell-results"),
              show_default=True, help="Where the run's folder goes.")
@click.option("--plan", is_flag=True, help="Send nothing; say what would be offered.")
@click.option("--yes", is_flag=True, help="Do not ask before a load on another machine.")
def load(profile: str | None, target: Path | None, **options: Any) -> None:
    """Offer a load, judge it by rules, and judge a sample of its traffic.

    Exit codes as for check: 1 also for a broken rule, 2 also for a rule that could not be decided, or where the
    generator itself was late.
    """
    from openbell.loadprofiles import command
    sys.exit(command.load_run(profile, target, options))


@openbell.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8717, show_default=True,
              help="Port to listen on; 0 takes any.")
@click.option("--defect", "defects", multiple=True, metavar="NAME", help="Plant a defect. Repeatable.")
@click.option("--benign", "benign", multiple=True, metavar="NAME",
              help="Behave in a legal but unusual way. Repeatable.")
@click.option("--token-lifetime", type=click.FloatRange(1, 1e9), default=6.0, show_default=True, metavar="S")
@click.option("--log", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Access log, one JSON line a request.")
@click.option("--list-defects", is_flag=True, help="List defects and benign variants.")
def serve(**options: Any) -> None:
    """Run the reference server.

    Its clients' secret comes from the environment variable OPENBELL_REFERENCE_SECRET.
    """
    from openbell import commands
    sys.exit(commands.serve(options))


@openbell.command()
@click.argument("check_id", required=False, metavar="[ID]")
def checks(check_id: str | None) -> None:
    """List the checks, or explain one.

    With ID: its requirement, sources, judgement, remedy, and the defects that it catches.
    """
    from openbell import commands
    sys.exit(commands.checks(check_id))


@openbell.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--target", type=click.Path(path_type=Path), metavar="PROFILE",
              help="The profile, when it has moved since: secret files lie beside it.")
@click.option("--base-url", metavar="URL", help="Refuse unless the run went to this address.")
def cleanup(run: Path, target: Path | None, base_url: str | None) -> None:
    """Undo what the run in folder RUN left behind.

    At the address that the run went to and by the profile that it was made with, both as its journal holds them,
    whatever the profile says now.
    """
    from openbell import commands
    sys.exit(commands.cleanup(run, target, base_url))


@openbell.command()
@click.option("--full", is_flag=True,
              help="Every check against every defect, not only the claimed and the traffic checks.")
@click.option("--only", multiple=True, metavar="NAME",
              help="Only these defects, variants or null servers. Repeatable.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("openbell-results"),
              show_default=True)
def prove(full: bool, only: tuple[str, ...], out: Path) -> None:
    """Show that every check can fail.

    Each defect of the reference server must be caught by its declared rule, each legal but unusual behaviour must
    pass, and servers that do nothing right must make nothing pass.
    """
    from openbell import commands
    sys.exit(commands.prove(full=full, only=only, out=out))


def main() -> None:
    """The entry point: usage errors exit with 3, and nothing shows a traceback."""
    try:
        openbell.main(standalone_mode=False)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(WRONG_USAGE)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except Exception as error:  # noqa: BLE001 - a person never sees a traceback
        click.echo(f"openbell failed: {type(error).__name__}: {str(error)[:300]}", err=True)
        sys.exit(HARNESS_FAILED)
