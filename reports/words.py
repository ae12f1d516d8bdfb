"""Words that all reports share, and the one door through which a target's text comes into them.

What a target sent may hold control characters, lone surrogates and marks that turn the reading direction; any of them
can break a document or deceive its reader. They become visible here, and everything is cut.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

from openbell.registry import all_checks
from openbell.results import Result, Results, Verdict

CUT = " … (cut)"
FEW = 3
SILENT = "the profile is silent"
ACCIDENTS = frozenset({"budget", "control_failed", "no_reply", "precondition"})
_UNSEEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff\U000e0000-\U000e0fff]")

WORDS: Mapping[bool | None, str] = {True: "conforms", False: "does not conform", None: "not decided"}
SIGNS: Mapping[Verdict, str] = {
    "pass": "✓", "fail": "✗", "warn": "!", "info": "i", "not-applicable": "–", "inconclusive": "?", "accepted": "≈",
    "error": "‼"}
WORST: tuple[Verdict, ...] = ("fail", "error", "inconclusive", "warn", "accepted", "info", "not-applicable", "pass")


def visible(text: object, limit: int = 2000) -> str:
    """Text fit for any document: unseen characters as `\\u202e`, at most `limit` characters and a note of the cut."""
    whole = str(text)
    shown = _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", whole[:limit].replace("\r\n", "\n"))
    shown = shown.replace("\r", "\\r")
    return shown + CUT if len(whole) > limit else shown


def line(text: object, limit: int = 300) -> str:
    """The same on one line."""
    return " ".join(visible(text, limit).split())


def verdict_word(results: Results) -> str:
    """`conforms`, `does not conform` or `not decided`."""
    return WORDS[results.conforms]


def reason_of(results: Results) -> str:
    """The verdict in a sentence."""
    undecided = sum(1 for r in results.results if r.verdict == "inconclusive" and r.level == "MUST")
    failed, wrong = results.counts["fail"], results.counts["error"]
    parts = [
        *([f"{failed} of {len(results.results)} results fail"] if failed else []),
        *([f"{wrong} could not be judged, by a fault of the harness"] if wrong else []),
        *([f"{undecided} that must hold could not be decided"] if undecided else []),
        *([f"{len(results.stale)} accepted entries are stale"] if results.stale else []),
    ]
    if parts:
        return "; ".join(parts) + "."
    if results.conforms:
        return "Everything that must hold was seen to hold."
    return ("Nothing that is promised could be judged: the profile's [promise] table is silent, or says not_promised."
            if results.results else "Nothing was judged.")


def counted(counts: Mapping[str, int]) -> str:
    """The counts that are not zero, worst first: `2 fail, 31 pass`."""
    return ", ".join(f"{counts[v]} {v}" for v in WORST if counts.get(v)) or "nothing judged"


def rules(result: Result) -> tuple[str, ...]:
    """The rules that a result broke; the reason of an undecided one."""
    found = tuple(sorted({f.rule for f in result.findings}))
    return found or ((result.reason,) if result.reason else ())


def seen(result: Result) -> str:
    """What was seen, in a line: the rules that were broken, else the reason and the summary; of a promise about which
    the profile is silent, also what to write there."""
    if not result.findings:
        return f"{result.reason}: {result.summary}" if result.reason else result.summary
    return ", ".join(rules(result)) + (f": {result.summary}" if result.verdict == "info" else "")


def _said(result: Result) -> str:
    return SILENT if result.verdict == "info" and not result.findings else seen(result)


def suggested(results: Iterable[Result]) -> dict[str, str]:
    """What the profile could say of the promises about which it is silent, by what was seen."""
    promises = {c.id: c.promise for c in all_checks()}
    told = [r for r in results if r.verdict == "info" and r.summary.startswith(SILENT)]
    broken = {promises[r.check] for r in told if r.findings}
    return {promises[r.check]: "not_promised" if promises[r.check] in broken else "promised" for r in told}


def promise_lines(results: Iterable[Result]) -> list[str]:
    """The same as lines for the profile's [promise]."""
    return [f"{toml(name)} = {toml(word)}" for name, word in suggested(results).items()]


def alike(results: Iterable[Result]) -> list[tuple[Result, ...]]:
    """Results in rows, worst first: those of one verdict without findings that say the same share a row, if many."""
    rows: dict[object, list[Result]] = {}
    for i, result in enumerate(sorted(results, key=lambda r: WORST.index(r.verdict))):
        rows.setdefault(i if result.findings else (result.verdict, _said(result)), []).append(result)
    return [row for found in rows.values() for row in ([tuple(found)] if len(found) > FEW else zip(found, strict=True))]


def told(row: tuple[Result, ...]) -> tuple[str, str, str]:
    """Check, subject and what was seen of a row; of many, how many they are."""
    first = row[0]
    return (first.check, first.subject, seen(first)) if len(row) == 1 else (
        f"{len(row)} results", f"{first.check} …", _said(first))


def blocking(results: Results) -> tuple[Result, ...]:
    """The results that an entry of accepted.toml would have to cover before the run conforms.

    What was cut short, had no reply or lacked what it needs is nothing to accept, nor is a failed control: that is to
    be mended first.
    """
    return tuple(r for r in results.results if r.reason not in ACCIDENTS and (
        r.verdict == "fail" or (r.verdict == "inconclusive" and r.level == "MUST")))


def accepted_block(found: Iterable[Result]) -> str:
    """Entries for accepted.toml, ready to paste; what a person must add stands there as comments."""
    return "\n".join([_EXPLAINED, *(_entry(r) for r in found)])


_EXPLAINED = "# owner answers for it, reason says why it may stay, ticket follows it up, expires is its last day\n"


def _entry(result: Result) -> str:
    return "\n".join((
        "[[accepted]]",
        f"check = {toml(result.check)}",
        f"subject = {toml(result.subject)}",
        f"rules = [{', '.join(map(toml, rules(result)))}]",
        '# owner = ""',
        '# reason = ""',
        '# ticket = ""',
        "# expires = 2027-01-31",
        ""))


def toml(text: str) -> str:
    """A TOML basic string."""
    return json.dumps(visible(text, 500), ensure_ascii=False)


def seconds(value: float) -> str:
    """Seconds for people: `12.3 s`."""
    return f"{value:.1f} s"
