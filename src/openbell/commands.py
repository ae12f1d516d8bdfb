"""What each command does. Each returns an exit code; mistakes of the user are told in full, never as a traceback."""

from __future__ import annotations

import asyncio
import os
import secrets as random_secrets
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from openbell import cleaning, journal, terminal
from openbell.accepted import AcceptedError, load_accepted
from openbell.child import ChildFailed, child
from openbell.loading import Problem, ProfileError, load, parse, secrets
from openbell.profile import Profile
from openbell.redact import SHORT
from openbell.reference import PROFILE, SECRET, SHOWN
from openbell.registry import all_checks
from openbell.results import HARNESS_FAILED, INTERRUPTED, NOT_DECIDED, OK, WRONG_USAGE
from openbell.run import Options, OutError, Run, UnknownCheck, judged, plan_for, select, write_results
from openbell.session import Session


def told(error: Exception) -> int:
    """Shows a mistake of the user's and gives its exit code."""
    click.echo(str(error), err=True)
    return WRONG_USAGE


def _options(values: Mapping[str, Any]) -> Options:
    """The run's options from the command line. Raises AcceptedError and UnknownCheck."""
    kept = {k: v for k, v in values.items() if k not in {"plan", "probe", "accepted", "allow"}}
    accepted = load_accepted(values["accepted"]) if values.get("accepted") else ()
    allow = frozenset(values["allow"]) if values.get("allow") else None
    options = Options(**kept, accepted=accepted, allow=allow)
    select(options)
    return options


def check(path: Path, base_url: str | None, values: Mapping[str, Any]) -> int:
    """`openbell check`."""
    try:
        target = load(path, base_url)
        options = _options(values)
        if values["plan"]:
            terminal.show_plan(target, plan_for(target, options), select(options))
            return OK
        known = secrets(target, os.environ, path.parent)
        if values["probe"]:
            return asyncio.run(terminal.probe(target, known))
        return finished(target, known, drive(target, str(path), known, options))
    except (ProfileError, AcceptedError, UnknownCheck, OutError) as error:
        return told(error)


def demo(token_lifetime: float, values: Mapping[str, Any]) -> int:
    """`openbell demo`: the server is a child, so that its work does not pass for the harness's lag."""
    try:
        options = _options(values)
        return asyncio.run(_demo(token_lifetime, options))
    except (UnknownCheck, ProfileError, OutError) as error:
        return told(error)
    except ChildFailed as error:
        click.echo(str(error), err=True)
        return HARNESS_FAILED


async def _demo(token_lifetime: float, options: Options) -> int:
    secret = os.environ.get(SECRET) or random_secrets.token_urlsafe(24)
    arguments = ["--port", "0", "--stdin-ends", "--token-lifetime", str(token_lifetime)]
    async with child("openbell.reference_server", arguments, {SECRET: secret}) as ready:
        target = load(PROFILE, ready["ready"])
        known = secrets(target, {**os.environ, SECRET: secret}, PROFILE.parent)
        run = await driven(target, SHOWN, known, options)
        return await closing(target, known, run)


def drive(target: Profile, source: str, known: Mapping[str, str], options: Options) -> Run:
    """A run with its live view, from outside any event loop."""
    return asyncio.run(driven(target, source, known, options))


async def driven(target: Profile, source: str, known: Mapping[str, str], options: Options) -> Run:
    """A run with its live view; Ctrl-C ends it, and its results are still written."""
    from openbell import run as running
    from openbell.scheduler import Progress
    progress = Progress()
    task = asyncio.ensure_future(running.run(target, source, known, options, progress, _counting(progress)))
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, task.cancel)
    with terminal.live(target, progress):
        return await task


def _counting(progress: Any) -> Callable[[Session], None]:
    def attach(session: Session) -> None:
        session.journal.listen(progress.count)
    return attach


async def closing(target: Profile, known: Mapping[str, str], run: Run) -> int:
    """Reports, says where, and undoes what an interrupted run left behind."""
    report(run.folder)
    terminal.show_results(run)
    if run.interrupted:
        await cleaning.clean(run.folder, target, known)
        return INTERRUPTED
    return run.results.exit_code


def finished(target: Profile, known: Mapping[str, str], run: Run) -> int:
    """`closing`, from outside any event loop."""
    return asyncio.run(closing(target, known, run))


def report(folder: Path) -> None:
    """Writes every report of a judged folder."""
    from openbell.reports import write_all
    write_all(folder)


def judge(files: tuple[Path, ...], profile: Path | None, only: tuple[str, ...], out: Path | None) -> int:
    """`openbell judge`: a journal is judged where it lies, or into `out`; HAR files become a journal first."""
    try:
        target = load(profile) if profile else None
        chosen = select(Options(only=only))
        source = _source(files, target, only, out)
        results = judged(source, chosen if only else all_checks())
    except (ProfileError, UnknownCheck, OutError, journal.JournalError) as error:
        return told(error)
    except OSError as error:
        return told(OSError(f"{error.filename}: {error.strerror}"))
    write_results(source.parent, results)
    report(source.parent)
    terminal.show_judged(source.parent, results)
    return results.exit_code


def _source(files: tuple[Path, ...], target: Profile | None, only: tuple[str, ...], out: Path | None) -> Path:
    """The journal to judge: made from HAR files, or copied to where its results may stand beside it."""
    from openbell import har
    if len(files) == 1 and not har.looks_like(files[0]):
        beside = files[0].parent if files[0].name == "events.jsonl" else Path("openbell-results") / files[0].stem
        return har.copied(files[0], out or beside)
    return har.to_journal(files, target, only, out)


def serve(options: Mapping[str, Any]) -> int:
    """`openbell serve`."""
    from openbell.reference_server import command
    if options["list_defects"]:
        terminal.show_defects()
        return OK
    secret = os.environ.get(SECRET, "")
    if len(secret) < SHORT:
        click.echo(f"the environment variable {SECRET} is not set, or shorter than {SHORT} characters\n"
                   f"    export {SECRET}=\"$(python3 -c 'import secrets; print(secrets.token_urlsafe(24))')\"",
                   err=True)
        return WRONG_USAGE
    planted = [f"defect:{name}" for name in options["defects"]] + [f"benign:{name}" for name in options["benign"]]
    return command.run(command.Options(
        host=options["host"], port=options["port"], variants=tuple(planted), token_lifetime=options["token_lifetime"],
        log=options["log"]), secret)


def checks(check_id: str | None) -> int:
    """`openbell checks`."""
    if check_id is None:
        terminal.show_checks(all_checks())
        return OK
    found = next((c for c in all_checks() if c.id == check_id.upper()), None)
    if found is None:
        return told(UnknownCheck(f"no check {check_id}; `openbell checks` lists them"))
    terminal.show_check(found)
    return OK


def cleanup(run: Path, profile: Path | None, base_url: str | None) -> int:
    """`openbell cleanup`: undoes the intents of a run that have no undo, where it went, as its own profile says."""
    try:
        header = journal.read(run / "events.jsonl").header
        target = _sent_to(header, base_url)
        known = _secrets(target, profile.parent if profile else _beside(header, run))
        click.echo(f"cleaning up at {target.target.base_url}")
        left = asyncio.run(cleaning.clean(run, target, known))
    except (ProfileError, journal.JournalError) as error:
        return told(error)
    except OSError as error:
        return told(OSError(f"{error.filename}: {error.strerror}"))
    return NOT_DECIDED if left else OK


def _sent_to(header: journal.Header, base_url: str | None) -> Profile:
    """The profile that a run was made with. Raises ProfileError for another address: there is nothing of the run's."""
    target = parse(header.profile, header.target)
    own = target.target.base_url
    if base_url is not None and base_url.rstrip("/") != own:
        raise ProfileError(header.run, [Problem("--base-url", f"the run went to {own}, not to {base_url}",
                                                "what it made can be undone there alone: leave --base-url out")])
    return target


def _secrets(target: Profile, folder: Path) -> dict[str, str]:
    """The secrets, from the environment and from files in `folder`. Raises ProfileError, which says where it looked."""
    try:
        return secrets(target, os.environ, folder)
    except ProfileError as error:
        where = f"secret files are sought in {folder}; --target PROFILE says beside which profile they lie"
        raise ProfileError(f"{error.source} ({where})", error.problems) from error


def _beside(header: journal.Header, run: Path) -> Path:
    """The folder of the secret files; of journals that do not tell it, from where the run was started."""
    return run.resolve() / header.beside if header.beside else Path(header.target).parent


def prove(*, full: bool, only: tuple[str, ...], out: Path) -> int:
    """`openbell prove`."""
    from openbell import proof
    try:
        return proof.prove(full=full, only=only, out=out)
    except OutError as error:
        return told(error)
