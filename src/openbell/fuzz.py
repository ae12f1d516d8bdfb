"""Fuzzing as a scenario sees it: Schemathesis' child makes the requests, the run sends and records them.

So the interlock, the permits, the credentials, the intents and the redaction are the same as for every other request,
and the child holds no secret. What the child says becomes facts:

    fuzz_ready {operations, chosen, left_out}             what it has read in the document
    fuzz_finding {check, operation, title, said, exchanges}    one of its checks failed
    fuzz_check {check, operation, passed, failed, exchange}    how often each of its checks was made
    fuzz_trouble {about, said}                            what it could not do, or warns of
    fuzz_end {requests, budget, stop, phases, withheld}   how it ended
    fuzz_lost {why, requests}                             it did not come to its end; what was recorded is kept
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tempfile
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from openbell.api import Api
from openbell.building import with_query
from openbell.child import bare, ended
from openbell.events import Exchange, content_bytes, content_json
from openbell.profile import SAFE, Fuzz, Profile, Step
from openbell.session import NotAllowed, Skip
from openbell.target import match_operation
from openbell.wire import AGENT, Request

MODULE = "openbell.fuzz_child"
MARK = "openbell-fuzzes"
LINE = 32 * 1024 * 1024
SILENT_S = 30.0
END_S = 2.0
NOTES = 1000


class Lost(Exception):
    """The child did not start, is gone, or is silent."""


@dataclass
class Talk:
    """One run's conversation with the child: what was sent so far, and when the next request is due."""

    api: Api
    target: Profile
    fuzz: Fuzz
    due: float = 0.0
    sent: int = 0
    withheld: int = 0
    notes: int = 0
    ended: bool = False
    why: str = field(default="")


async def fuzz(api: Api, target: Profile, settings: Fuzz) -> None:
    """Fuzzes the target once. Raises Skip where not a single request was sent."""
    folder = Path(tempfile.mkdtemp(prefix="openbell-fuzz-"))
    talk = Talk(api, target, settings)
    try:
        async with asyncio.timeout(settings.max_s):
            await _talked(talk, folder)
    except TimeoutError:
        talk.why = f"it was not done within {settings.max_s:g} s"
    except Lost as lost:
        talk.why = str(lost)
    except Skip as skip:
        # What was found before, such as before a token could not be renewed, is kept and judged.
        if not talk.sent:
            raise
        talk.why = skip.why
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if not talk.sent:
        raise Skip("precondition", f"fuzzing sent no request: {talk.why or 'the document has nothing to call'}")
    if not talk.ended:
        api.note("fuzz_lost", why=talk.why, requests=talk.sent)


async def _document(api: Api, target: Profile, settings: Fuzz) -> str:
    """The text of the OpenAPI document; asked with credentials only where it is not public. Raises Skip."""
    url = urljoin(target.target.base_url + "/", str(target.target.openapi))
    if str(target.target.openapi).startswith("/"):
        url = target.target.base_url + str(target.target.openapi)
    own = urlsplit(url).netloc == urlsplit(target.target.base_url).netloc
    for authorised in (False, True) if own else (False,):
        request = Request("GET", url, _fixed(target, (("Accept", "*/*"), ("User-Agent", AGENT))))
        exchange = await api.pass_on(request, by=settings.principal, label="document", authorised=authorised)
        if exchange.status not in {401, 403}:
            break
    if exchange.status != 200 or exchange.reply is None:
        raise Skip("precondition", f"no OpenAPI document: {exchange.no_reply or f'status {exchange.status}'}")
    if exchange.reply.cut:
        raise Skip("precondition", "the OpenAPI document is larger than what the harness reads")
    return exchange.reply.content.decode("utf-8", "replace")


def _fixed(target: Profile, fields: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """The fields, and those of the profile that are not among them."""
    named = {name.lower() for name, _ in fields}
    return (*fields, *((k, v) for k, v in target.target.headers.items() if k.lower() not in named))


# --- what the child is told


def _start(api: Api, target: Profile, settings: Fuzz, document: str) -> dict[str, Any]:
    credential = target.credential[settings.principal]
    return {
        "document": document, "base_url": target.target.base_url, "seed": api.session.seed, "budget": settings.budget,
        "headers": {step.header: marked(step) for step in credential.stack}, "safe": not _may_write(target),
        "parameters": {f"path.{name}": value for name, value in credential.values.items()},
        "left_out": _left_out(target, settings), "max_s": int(settings.max_s) + 1,
    }


def marked(step: Step) -> str:
    """What stands for a credential in the child's requests; the run puts the credential in its place."""
    scheme = {"oauth2": "Bearer {secret}", "basic": "Basic {secret}"}.get(step.kind, step.template)
    return scheme.replace("{secret}", MARK)


def _may_write(target: Profile) -> bool:
    return "write" in target.target.allow


def _never(target: Profile, settings: Fuzz) -> set[str]:
    """The operations that fuzzing never calls."""
    return {name for name, op in target.operation.items() if op.role == "token" or name in settings.exclude}


def _left_out(target: Profile, settings: Fuzz) -> list[list[str]]:
    base = urlsplit(target.target.base_url).path
    return [[target.operation[n].method, base + target.operation[n].path] for n in sorted(_never(target, settings))]


# --- the conversation


async def _talked(talk: Talk, folder: Path) -> None:
    """Starts the child and answers it until it has said its last line. Raises Lost, and Skip without a document.

    While the child starts, which takes a while, the document is fetched.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", MODULE, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, cwd=folder, limit=LINE,
        env={**bare(), "HOME": str(folder), "HYPOTHESIS_STORAGE_DIRECTORY": str(folder)}, start_new_session=True)
    try:
        document = await _document(talk.api, talk.target, talk.fuzz)
        await _say(process, _start(talk.api, talk.target, talk.fuzz, document))
        while not talk.ended:
            said = await _hear(process)
            if answer := await _done(talk, said):
                await _say(process, answer)
    finally:
        await ended(process, END_S)


async def _say(process: asyncio.subprocess.Process, line: Mapping[str, Any]) -> None:
    if process.stdin is None:
        raise Lost("its process has no input")
    try:
        process.stdin.write(json.dumps(line).encode() + b"\n")
        await process.stdin.drain()
    except OSError:
        raise Lost("its process ended") from None


async def _hear(process: asyncio.subprocess.Process) -> dict[str, Any]:
    if process.stdout is None:
        raise Lost("its process has no output")
    try:
        async with asyncio.timeout(SILENT_S):
            line = await process.stdout.readline()
        said = json.loads(line) if line else None
    except TimeoutError:
        raise Lost(f"its process said nothing for {SILENT_S:g} s") from None
    except ValueError:
        raise Lost("its process said something that cannot be understood") from None
    if not isinstance(said, dict):
        raise Lost("its process ended" if said is None else "its process said something that cannot be understood")
    return said


async def _done(talk: Talk, said: dict[str, Any]) -> dict[str, Any] | None:
    """Does what one line says; the answer, where it asks for one. Raises Lost."""
    match said.pop("did", None):
        case "ask":
            return await _asked(talk, said)
        case "unusable":
            raise Lost(f"the OpenAPI document cannot be used: {said['why']}")
        case "found":
            _note(talk, "fuzz_finding", said)
        case "trouble":
            _note(talk, "fuzz_trouble", said)
        case "ready":
            talk.api.note("fuzz_ready", **said)
        case "end":
            for counted in said.pop("checks"):
                talk.api.note("fuzz_check", **counted)
            talk.api.note("fuzz_end", requests=talk.sent, budget=talk.fuzz.budget, withheld=talk.withheld, **said)
            talk.ended, talk.why = True, said["stop"]
    return None


def _note(talk: Talk, name: str, data: Mapping[str, Any]) -> None:
    """A fact, while there are not too many of them; that there were more is one as well."""
    talk.notes += 1
    if talk.notes <= NOTES:
        talk.api.note(name, **data)
    elif talk.notes == NOTES + 1:
        talk.api.note("fuzz_trouble", about="(run)", said=f"there are more than {NOTES} findings and troubles")


async def _asked(talk: Talk, said: Mapping[str, Any]) -> dict[str, Any]:
    """Sends one request of the child's, if it may be sent, and gives its redacted reply."""
    if talk.sent >= talk.fuzz.budget:
        return {"stop": "budget"}
    request, authorised = _request(talk, said)
    if why := _forbidden(talk, request):
        talk.withheld += 1
        return {"withheld": why}
    await _paced(talk)
    try:
        exchange = await talk.api.pass_on(request, by=talk.fuzz.principal, label=f"fuzz:{said['phase']}",
                                          authorised=authorised)
    except NotAllowed as error:
        talk.withheld += 1
        return {"withheld": error.why}
    talk.sent += 1
    return _answer(exchange)


def _request(talk: Talk, said: Mapping[str, Any]) -> tuple[Request, bool]:
    """The request, and whether the credentials belong on it: the child's marks are taken off."""
    marks = {(step.header.lower(), marked(step)) for step in talk.target.credential[talk.fuzz.principal].stack}
    fields = tuple((k, v) for k, v in said["headers"] if (k.lower(), v) not in marks)
    authorised = len(fields) < len(said["headers"])
    return Request(said["method"], said["url"], _fixed(talk.target, fields), content_bytes(said["content"])), authorised


def _forbidden(talk: Talk, request: Request) -> str | None:
    """Why a request is not sent: what was left out of the document's operations must not come back by another way."""
    name = match_operation(talk.target, request.method, with_query(request.url, {}))
    if name in _never(talk.target, talk.fuzz):
        return f"{name} is never fuzzed"
    if request.method not in SAFE and not _may_write(talk.target):
        return f"{request.method} needs the permission write (target.allow)"
    return None


async def _paced(talk: Talk) -> None:
    """Keeps to the fuzzer's own rate; the run's permits come on top of it."""
    now = time.monotonic()
    talk.due = max(talk.due, now - 1 / talk.fuzz.max_rate) + 1 / talk.fuzz.max_rate
    if talk.due > now:
        await asyncio.sleep(talk.due - now)


def _answer(exchange: Exchange) -> dict[str, Any]:
    if exchange.reply is None:
        return {"n": exchange.n, "no_reply": exchange.no_reply}
    return {"n": exchange.n, "status": exchange.status, "content": content_json(exchange.reply.content),
            "headers": [[k.decode("latin-1"), v.decode("latin-1")] for k, v in exchange.reply.headers]}
