"""The results of a run: model, JSON, exit code. Same journal, same suite: same bytes."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal, get_args

from openbell.journal import Header

Verdict = Literal["pass", "fail", "warn", "info", "not-applicable", "inconclusive", "accepted", "error"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
FORMAT = "openbell-results"
VERSION = 1

OK, NOT_CONFORMING, NOT_DECIDED, WRONG_USAGE, HARNESS_FAILED, INTERRUPTED = 0, 1, 2, 3, 4, 130


@dataclass(frozen=True)
class Finding:
    """One broken observation; `events` are numbers in the journal."""

    rule: str
    expected: str
    actual: str
    events: tuple[int, ...]


@dataclass(frozen=True)
class Result:
    """The verdict on one check and one subject, with everything a reader needs to believe and mend it."""

    check: str
    title: str
    area: str
    level: str
    subject: str
    verdict: Verdict
    reason: str | None
    summary: str
    observed: Mapping[str, int]
    findings: tuple[Finding, ...]
    sources: tuple[str, ...]
    remedy: str
    reproduce: str
    accepted: Mapping[str, Any] | None


@dataclass(frozen=True)
class Results:
    """All results of a run. `stale` names accepted entries that covered nothing, or have expired."""

    suite: str
    pack: str | None
    target: str
    run: str
    results: tuple[Result, ...]
    stale: tuple[str, ...] = ()
    torn: str | None = None
    format: str = field(default=FORMAT, init=False)
    version: int = field(default=VERSION, init=False)

    @property
    def counts(self) -> dict[str, int]:
        """How many results have each verdict; all verdicts are named."""
        counted = Counter(r.verdict for r in self.results)
        return {v: counted[v] for v in VERDICTS}

    @property
    def conforms(self) -> bool | None:
        """True, False, or None when it was not decided."""
        return {OK: True, NOT_CONFORMING: False}.get(self.exit_code)

    @property
    def exit_code(self) -> int:
        """0 conforms, 1 does not, 2 not decided, 4 the harness failed; where several apply: 1, 4, 2, 0."""
        verdicts = Counter(r.verdict for r in self.results)
        if verdicts["fail"] or self.stale:
            return NOT_CONFORMING
        if verdicts["error"]:
            return HARNESS_FAILED
        undecided = any(r.verdict == "inconclusive" and r.level == "MUST" for r in self.results)
        return NOT_DECIDED if undecided or not (verdicts["pass"] or verdicts["warn"]) else OK


def to_json(results: Results) -> dict[str, Any]:
    """The results as the JSON of `results.json`."""
    return {
        "format": results.format, "version": results.version, "suite": results.suite, "pack": results.pack,
        "target": results.target, "run": results.run, "conforms": results.conforms, "counts": results.counts,
        "stale": list(results.stale), "torn": results.torn, "results": [asdict(r) for r in results.results],
    }


def to_bytes(results: Results) -> bytes:
    """The bytes of `results.json`; a lone surrogate that a target sent stays a JSON escape."""
    return json.dumps(to_json(results), ensure_ascii=False, indent=1).encode("utf-8", "backslashreplace") + b"\n"


def reproduce(header: Header, check: str) -> str:
    """The command that reproduces one check's result."""
    if header.source == "har":
        return f"openbell judge {header.target} --only {check}"
    words = ["openbell", "check", header.target, "--only", check, "--seed", str(header.seed)]
    return shlex.join(words)


def in_force(entry: Any, started: str) -> bool:
    """Whether an entry has not expired by the start of the run; `expires` is a date."""
    expires = entry.get("expires")
    return expires is None or datetime.fromisoformat(started).date().isoformat() <= str(expires)


def stale(header: Header, results: Sequence[Result]) -> tuple[str, ...]:
    """Accepted entries of the checks of this run that covered nothing, or have expired, and when."""
    used = [r.accepted for r in results if r.accepted]
    judged = {r.check for r in results}
    return tuple(f"{e['check']} on {e['subject']} ({', '.join(e['rules'])})"
                 + ("" if in_force(e, header.started) else f": it has expired, its last day was {e['expires']}")
                 for e in header.accepted if e["check"] in judged and dict(e) not in used)
