"""Whole runs against listings that are asked for by page number and by offset, and against hostile ones."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hostile import Asked, Hostile, borne, check, listing, problem, profile, reply
from serving import openbell, results, rules, verdicts

from openbell.scenarios.invalid_input import POSITIONS

MECHANISMS = ("number", "offset")
PROMISES = ("complete", "order", "no_loss", "no_duplicates", "cursor_row", "opaque", "size_limits")
MOST_DIGITS = 20
SHIFTED = {"PAG-002": {"skipped"}, "PAG-003": {"repeated"}, "PAG-006": {"cursor-row-skip"}}


def written(folder: Path, text: str, mechanism: str, promised: tuple[str, ...]) -> Path:
    """The stand-in's profile, with pages that are counted and these promises of pages; no others."""
    text = text.partition("[promise]")[0].replace(
        "[page.cursor]\n", f'[page.cursor]\nmechanism = "{mechanism}"\nput = "{mechanism}"\n')
    lines = [f'"pages.{name}" = "{"promised" if name in promised else "not_promised"}"' for name in PROMISES]
    path = folder / "counted.toml"
    path.write_text("\n".join([text, "[promise]", *lines]))
    return path


def run(folder: Path, target: Path, *arguments: str) -> tuple[int, Path]:
    """`openbell check` of a profile: its exit code and its folder."""
    done = openbell("check", target, "--out", folder / "out", *arguments, cwd=folder)
    assert "Traceback" not in done.stdout + done.stderr
    (events,) = (folder / "out").glob("*/events.jsonl")
    return done.returncode, events.parent


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_all_that_is_promised_is_judged_and_writes_shift_the_pages(stand_in: Any, tmp_path: Path, mechanism: str,
                                                                   ) -> None:
    stand_in.counted = mechanism
    code, out = run(tmp_path, written(tmp_path, stand_in.profile, mechanism, PROMISES), "--only", "PAG-*")
    found = {check_id: verdict for (check_id, _), verdict in verdicts(out).items()}
    assert code == 1
    assert found == {"PAG-001": "pass", "PAG-004": "pass", "PAG-010": "pass", "PAG-007": "not-applicable",
                     **dict.fromkeys(SHIFTED, "fail")}
    assert {check_id: rules(out, check_id) for check_id in SHIFTED} == SHIFTED
    (cursors,) = (r for r in results(out)["results"] if r["check"] == "PAG-007")
    assert cursors["summary"] == f"the caller counts ({mechanism}): the listing has no cursors"
    assert stand_in.orders == {}
    report = (out / "report.html").read_text()
    assert report.count('<svg class="walk"') >= len(SHIFTED)
    assert f"page 2 ({mechanism} {2 if mechanism == 'number' else 5}), " in report
    again = openbell("judge", out / "events.jsonl", "--out", tmp_path / "again", cwd=tmp_path)
    assert again.returncode == 1, again.stderr


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_what_is_not_promised_is_not_judged(stand_in: Any, tmp_path: Path, mechanism: str) -> None:
    stand_in.counted = mechanism
    target = written(tmp_path, stand_in.profile, mechanism, ("complete", "order", "size_limits"))
    code, out = run(tmp_path, target, "--only", "PAG-*")
    found = {check_id: verdict for (check_id, _), verdict in verdicts(out).items()}
    assert code == 0
    assert found == {"PAG-001": "pass", "PAG-004": "pass", "PAG-010": "pass",
                     **dict.fromkeys(("PAG-002", "PAG-003", "PAG-006", "PAG-007"), "not-applicable")}


# --- targets that lie


def rows(*ids: object, **members: Any) -> bytes:
    return reply(json.dumps({"items": [{"id": str(i)} for i in ids], **members}).encode())


def first(asked: Asked) -> bool:
    """Whether the first page is asked for."""
    return asked.query("at") in {"", "0", "1"}


COUNTER = itertools.count(1)
SAYS = {"nothing": "", "total": 'total = "body:/total"\n', "next": 'next = "body:/next"\n',
        "more": 'end = { at = "body:/more", equals = false }\n'}
LIES: dict[str, Callable[[Asked], bytes]] = {
    "the same page for ever": lambda asked: rows(1, 2, total=10**30, next="/x", more=True),
    "new rows for ever": lambda asked: rows(next(COUNTER), next(COUNTER), total=10**30, next=[1], more=True),
    "nothing, and more of it": lambda asked: rows(total=10**30, next=True, more=True),
    "a total that is none": lambda asked: rows(1, total="∞" * 9, next={}, more=[]),
    "a total of many digits": lambda asked: reply(b'{"items": [{"id": "1"}], "total": %s}' % (b"9" * 9000)),
    "a negative total": lambda asked: rows(1, 2, total=-1),
    "no list": lambda asked: reply(b'{"items": {"id": 1}, "total": 7}'),
    "a crash behind the first page": lambda asked: rows(1, 2, more=True) if first(asked) else problem(500, "x"),
    "a refusal behind the first page": lambda asked: rows(1, 2, more=True) if first(asked) else problem(404, "x"),
}


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_listings_that_lie_are_borne_and_not_complete(tmp_path: Path, mechanism: str) -> None:
    cases = {f"lie_{i}_{j}": (lie, says) for i, lie in enumerate(LIES) for j, says in enumerate(SAYS)}
    pages = "".join(f'\n[page.{says}]\nmechanism = "{mechanism}"\nput = "at"\n{lines}' for says, lines in SAYS.items())
    with Hostile({f"/{name}": LIES[lie] for name, (lie, _) in cases.items()}) as server:
        text = pages + "".join(listing(name, says) for name, (_, says) in cases.items())
        done = check(tmp_path, profile(tmp_path, server.url, text), "--only", "PAG-*")
        assert {asked.path[1:] for asked in server.asked} >= set(cases)
    borne(done, 60)
    found = {r["subject"].removeprefix("collection:list_"): r["verdict"] for r in done.results()["results"]
             if r["check"] == "PAG-001"}
    assert {found[name] for name in cases} == {"fail", "inconclusive"}


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_crash_over_a_position_that_is_none_is_found(tmp_path: Path, mechanism: str) -> None:
    def answer(asked: Asked) -> bytes:
        return rows(1) if asked.query("at").isdigit() and len(asked.query("at")) < MOST_DIGITS else problem(500, "x")
    more = f'\n[page.counted]\nmechanism = "{mechanism}"\nput = "at"\n' + listing("counted", "counted")
    with Hostile({"/counted": answer}) as server:
        done = check(tmp_path, profile(tmp_path, server.url, more), "--only", "HTTP-008")
    borne(done)
    (found,) = (r for r in done.results()["results"] if r["check"] == "HTTP-008")
    said = [f["expected"] for f in found["findings"] if f["rule"] == "server-error"]
    assert [any(words in line for line in said) for words in POSITIONS.values()] == [True] * len(POSITIONS)
