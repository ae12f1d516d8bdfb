"""Schemathesis in a process of its own: it makes requests and judges replies, and sends nothing itself.

    {"document": TEXT, "base_url", "seed", "budget", "headers", "parameters", "safe", "left_out", "max_s"}   the first
    {"did": "ready", "operations": N, "chosen": M, "left_out": [...]}  or  {"did": "unusable", "why"}
    {"did": "ask", "method", "url", "headers", "content", "phase"}          -> {"n", "status", "headers", "content"},
                                                       {"n", "no_reply"}, {"withheld": WHY} or {"stop": WHY}
    {"did": "found", "check", "operation", "title", "said", "exchanges"}    a check of its own failed, as it happens
    {"did": "trouble", "about", "said"}                                     what it could not do
    {"did": "end", "checks": [...], "stop", "phases"}                       the last line

Whatever asks for a connection here asks the parent: its own checks, probes and retries too. The parent puts the
credentials on, so no secret is ever in this process; the replies come redacted. Schemathesis shares its time out over
the operations and repeats the phases that draw anew while time is left; here that time is counted in requests, by
replacing the few properties that read the clock. Verified with 4.32.5.
"""

from __future__ import annotations

import gzip
import json
import math
import os
import random
import resource
import shutil
import sys
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import requests
import schemathesis
from hypothesis.internal import charmap
from requests.adapters import HTTPAdapter
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import Failure
from schemathesis.engine import events, from_schema
from schemathesis.engine.context import EngineContext
from schemathesis.engine.control import ExecutionControl
from schemathesis.engine.recorder import ScenarioRecorder
from schemathesis.engine.run.unit import _direct_executor as direct
from schemathesis.engine.run.unit._case import BudgetExpired
from schemathesis.generation.meta import CoverageScenario
from schemathesis.transport.requests import RequestsTransport
from urllib3 import HTTPHeaderDict, HTTPResponse

from openbell.documents import Unusable, base_of, bearing, document_of
from openbell.events import content_bytes, content_json

MEMORY = 1024 * 1024 * 1024
SAID = 400
TROUBLES = 100
SHARES = {"examples": 0.2, "coverage": 0.5, "fuzzing": 0.7}
CHECKS = ("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
          "response_schema_conformance", "negative_data_rejection", "missing_required_header", "unsupported_method",
          "ignored_auth")
UTF8 = [[0, 0xD7FF], [0xE000, 0x10FFFF]]
NO_REPLY = {"timeout": requests.ReadTimeout, "unsendable": requests.exceptions.InvalidURL}


_ADAPTER = HTTPAdapter()


class Withheld(Exception):
    """The parent did not send a request."""


@dataclass
class State:
    """What is shared by the replaced parts: the budget, the phase, the exchanges of each case, what checks said."""

    budget: int
    seed: int
    sent: int = 0
    phase: str = ""
    stop: str = ""
    left: int = 1
    slice_end: float = math.inf
    exchanges: dict[str, list[int]] = field(default_factory=dict)
    passed: Counter[tuple[str, str]] = field(default_factory=Counter)
    failed: Counter[tuple[str, str]] = field(default_factory=Counter)
    shown: dict[tuple[str, str], int] = field(default_factory=dict)
    phases: Counter[str] = field(default_factory=Counter)
    troubles: int = 0

    @property
    def spent(self) -> bool:
        """Whether no request may be sent any more."""
        return bool(self.stop) or self.sent >= self.budget

    def share(self) -> float:
        """How many of the requests that are left the phase may use before it ends."""
        return (self.budget - self.sent) * SHARES.get(self.phase, 1.0)


class Wire:
    """The way to the parent: one question at a time, each answered before the next."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._lock = threading.Lock()
        self._case = threading.local()

    def say(self, did: str, **data: Any) -> None:
        """One line to the parent."""
        try:
            sys.stdout.write(json.dumps({"did": did, **data}) + "\n")
            sys.stdout.flush()
        except OSError:
            _orphaned()

    def of_case(self, case: str) -> None:
        """What this thread asks for next belongs to a case."""
        self._case.id = case

    def ask(self, request: requests.PreparedRequest) -> requests.Response:
        """The reply to a request, through the parent. Raises BudgetExpired when there may be no more."""
        fields = _fields(request)
        if any(c in value for _, value in fields for c in "\r\n\0"):
            raise requests.exceptions.InvalidHeader("a field that no client can send", request=request)
        with self._lock:
            if self._state.spent:
                raise BudgetExpired
            self.say("ask", method=request.method, url=request.url, headers=fields,
                     content=content_json(_content(request)), phase=self._state.phase or "probing")
            answer = _heard()
            if "stop" in answer:
                self._state.stop = answer["stop"]
                raise BudgetExpired
            if "withheld" in answer:
                raise Withheld(answer["withheld"])
            self._state.sent += 1
            self._state.phases[self._state.phase or "probing"] += 1
            self._state.exchanges.setdefault(getattr(self._case, "id", ""), []).append(answer["n"])
        return _response(request, answer)


def _orphaned() -> NoReturn:
    """The parent is gone, perhaps killed: its folder for this process goes with it."""
    folder = os.environ.get("HYPOTHESIS_STORAGE_DIRECTORY", "")
    if Path(folder).name.startswith("openbell-fuzz-"):
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


def _heard() -> dict[str, Any]:
    line = sys.stdin.readline()
    if not line:
        _orphaned()
    found: dict[str, Any] = json.loads(line)
    return found


def _content(request: requests.PreparedRequest) -> bytes:
    body: Any = request.body
    if isinstance(body, str):
        return body.encode()
    return body if isinstance(body, bytes) else b"" if body is None else b"".join(map(_raw, body))


def _raw(part: Any) -> bytes:
    return part.encode() if isinstance(part, str) else bytes(part)


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _fields(request: requests.PreparedRequest) -> list[list[str]]:
    return [[_text(k), _text(v)] for k, v in request.headers.items() if _text(k).lower() != "content-length"]


def _response(request: requests.PreparedRequest, answer: dict[str, Any]) -> requests.Response:
    """What Schemathesis gets; the content is decoded already."""
    if answer.get("no_reply"):
        kind = NO_REPLY.get(answer["no_reply"].partition(":")[0], requests.ConnectionError)
        raise kind(answer["no_reply"], request=request)
    content = content_bytes(answer["content"])
    raw = HTTPResponse(
        BytesIO(content), HTTPHeaderDict([(k, v) for k, v in answer["headers"] if k.lower() != "content-encoding"]),
        answer["status"], version=11, preload_content=False, decode_content=False)
    return _ADAPTER.build_response(request, raw)


# --- what is replaced in Schemathesis


def replace_parts(state: State, wire: Wire) -> None:
    """Connections lead to the parent, the clock counts requests, and what a check says is said at once."""
    def adapter_send(_self: Any, request: requests.PreparedRequest, **_options: Any) -> requests.Response:
        return wire.ask(request)

    transport_send = RequestsTransport.send

    def case_send(self: Any, case: Any, **options: Any) -> Any:
        wire.of_case(case.id)
        return transport_send(self, case, **options)

    HTTPAdapter.send = adapter_send  # type: ignore[method-assign,assignment]
    RequestsTransport.send = case_send  # type: ignore[method-assign]
    _replace_clock(state)
    _replace_recorder(state, wire)


def _replace_clock(state: State) -> None:
    collect = direct._collect_within_budget  # noqa: SLF001 - replaced in one place, and verified with the version

    def start(_self: Any, total_operations: int) -> None:
        state.left = total_operations

    def take(_self: Any) -> None:
        state.slice_end = state.sent + max(1.0, state.share() / max(state.left, 1))
        state.left -= 1

    def release(_self: Any) -> None:
        state.slice_end = math.inf

    def some(generator: Any, ctx: Any) -> list[Any]:
        """Cases are enumerated in one order; of more than may be sent, which ones is drawn by the seed."""
        cases = list(collect(generator, ctx))
        random.Random(f"{state.seed}:{generator.operation.label}").shuffle(cases)
        return cases

    EngineContext.start_unit_phase = start  # type: ignore[method-assign,assignment]
    EngineContext.take_operation_slice = take  # type: ignore[method-assign,assignment]
    EngineContext.release_operation_slice = release  # type: ignore[method-assign,assignment]
    EngineContext.is_operation_slice_expired = property(  # type: ignore[method-assign,assignment]
        lambda _self: state.sent >= state.slice_end)
    ExecutionControl.has_reached_time_limit = property(lambda _self: state.spent)  # type: ignore[assignment]
    direct._collect_within_budget = some  # noqa: SLF001


def _replace_recorder(state: State, wire: Wire) -> None:
    failure_of, success_of = ScenarioRecorder.record_check_failure, ScenarioRecorder.record_check_success

    def label(recorder: Any, case_id: str) -> str:
        return str(recorder.cases[case_id].value.operation.label)

    def failed(self: Any, *, name: str, case_id: str, failure: Failure, **options: Any) -> None:
        operation = label(self, case_id)
        state.failed[name, operation] += 1
        shown = state.exchanges.get(case_id, [])[-1:] + (
            state.exchanges.get(failure.case_id, [])[-1:] if failure.case_id and failure.case_id != case_id else [])
        wire.say("found", check=name, operation=operation, title=str(failure.title)[:SAID],
                 said=str(failure.message)[:SAID], exchanges=shown)
        failure_of(self, name=name, case_id=case_id, failure=failure, **options)

    def succeeded(self: Any, *, name: str, case_id: str) -> None:
        shown = state.exchanges.get(case_id)
        if shown and telling(name, self, case_id):
            key = name, label(self, case_id)
            state.passed[key] += 1
            state.shown.setdefault(key, shown[-1])
        success_of(self, name=name, case_id=case_id)

    ScenarioRecorder.record_check_failure = failed  # type: ignore[method-assign]
    ScenarioRecorder.record_check_success = succeeded  # type: ignore[method-assign]


def telling(name: str, recorder: Any, case_id: str) -> bool:
    """Whether a check that raised nothing has looked at anything: most of them are silent where they do not apply."""
    case = recorder.cases[case_id].value
    scenario = getattr(case.meta.phase.data, "scenario", None) if case.meta else None
    match name:
        case "negative_data_rejection":
            negative = bool(case.meta and case.meta.generation.mode.is_negative)
            return negative and scenario is not CoverageScenario.UNSPECIFIED_HTTP_METHOD
        case "missing_required_header":
            return scenario is CoverageScenario.MISSING_PARAMETER
        case "unsupported_method":
            return scenario is CoverageScenario.UNSPECIFIED_HTTP_METHOD
        case "ignored_auth":
            return any(node.parent_id == case_id for node in recorder.cases.values())
    return True


# --- a run


def configuration(start: dict[str, Any]) -> SchemathesisConfig:
    """All of its settings: none comes from a file or from the environment, and nothing is healed or kept."""
    checks = {name: {"enabled": True} for name in CHECKS}
    coverage = {"unexpected-methods": ["TRACE"] if start["safe"] else ["PATCH", "TRACE"]}
    return SchemathesisConfig.from_dict({
        "base-url": start["base_url"], "seed": start["seed"], "workers": 1, "continue-on-failure": True,
        "max-time": start["max_s"], "request-timeout": start["max_s"], "request-retries": 0, "max-redirects": 0,
        "headers": start["headers"], "parameters": start["parameters"], "cache": {"enabled": False},
        "auth": {"auto-signup": False}, "generation": {"database": "none", "unique-inputs": True},
        "checks": {"enabled": False, **checks}, "phases": {"coverage": coverage},
    })


def chosen(schema: Any, start: dict[str, Any]) -> tuple[Any, list[str]]:
    """The schema without the operations that may not be called, and those."""
    barred = {(method, _plain(path)) for method, path in start["left_out"]}
    base = urlsplit(start["base_url"]).path
    out: list[str] = []

    def kept(context: Any) -> bool:
        method, path = context.operation.method.upper(), _plain(base + context.operation.path)
        bars = (method, path) in barred or (start["safe"] and method not in {"GET", "HEAD", "OPTIONS"})
        if bars and context.operation.label not in out:
            out.append(context.operation.label)
        return not bars

    return schema.include(kept), out


def _plain(path: str) -> str:
    """A path template with nameless parameters."""
    return "/".join("{}" if "{" in part else part for part in path.split("/"))


def fuzz(start: dict[str, Any], state: State, wire: Wire) -> None:
    """One run: says what it finds, then the end."""
    document = bearing(document_of(start["document"]))
    start = {**start, "base_url": base_of(document, start["base_url"])}
    loaded = schemathesis.openapi.from_dict(document, config=configuration(start))
    schema, out = chosen(loaded, start)
    found = [str(one.ok().label) for one in schema.get_all_operations() if hasattr(one, "ok")]
    wire.say("ready", operations=len(found) + len(out), chosen=len(found), left_out=out)
    if not found:
        raise Unusable("it has no operation that can and may be called")
    before = -1
    for event in from_schema(schema).execute():
        if isinstance(event, events.PhaseStarted):
            state.phase, state.slice_end = event.phase.name.value, math.inf
            if state.phase == "fuzzing":
                state.stop, before = state.stop or ("nothing more to send" if state.sent == before else ""), state.sent
        _trouble(event, state, wire)
    wire.say("end", checks=_counted(state), stop=state.stop or ("budget" if state.spent else "nothing more to send"),
             phases=dict(state.phases))


def _trouble(event: events.EngineEvent, state: State, wire: Wire) -> None:
    """What Schemathesis could not do, or warns of; none of it is left out in silence."""
    told: list[tuple[str, str]] = []
    if isinstance(event, events.NonFatalError):
        told.append((str(event.label), f"{event.info.title}: {event.info.message}"))
    elif isinstance(event, events.FatalError):
        told.append(("(run)", f"{type(event.exception).__name__}: {event.exception}"))
    elif isinstance(event, events.SchemaAnalysisWarnings):
        told += [(str(getattr(w, "operation_label", "(document)")), str(getattr(w, "message", type(w).__name__)))
                 for w in event.warnings]
    elif isinstance(event, events.ScenarioFinished) and event.skip_warning is not None:
        told.append((str(event.label), f"{event.skip_warning.value}: {event.skip_reason}"))
    for about, said in told:
        state.troubles += 1
        if state.troubles <= TROUBLES:
            wire.say("trouble", about=about[:SAID], said=" ".join(said.split())[:SAID])


def _counted(state: State) -> list[dict[str, Any]]:
    keys = sorted({*state.passed, *state.failed})
    return [{"check": check, "operation": operation, "passed": state.passed[check, operation],
             "failed": state.failed[check, operation], "exchange": state.shown.get((check, operation))}
            for check, operation in keys]


def know_utf8() -> None:
    """Puts Hypothesis' table of what UTF-8 can write where it keeps it: to work it out takes it more than a second."""
    path = Path(charmap.charmap_file("codec-v2-utf-8"))
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.GzipFile(path, "wb") as file:
        file.write(json.dumps([UTF8, []]).encode())


def main() -> None:
    """The process."""
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    start = _heard()
    state = State(start["budget"], start["seed"])
    wire = Wire(state)
    replace_parts(state, wire)
    know_utf8()
    try:
        fuzz(start, state, wire)
    except Unusable as error:
        wire.say("unusable", why=str(error))
    except MemoryError:
        wire.say("unusable", why="it takes more memory than the harness gives it")
    except Exception as error:  # noqa: BLE001 - whatever goes wrong is told by its first line, never as a traceback
        wire.say("unusable", why=f"{type(error).__name__}: {str(error).strip().splitlines()[:1]}"[:SAID])
    # All has been said and flushed; to take the interpreter down in order would only take time.
    os._exit(0)


if __name__ == "__main__":
    main()
