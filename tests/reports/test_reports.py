"""The reports as documents: complete, the same twice, and safe whatever the target sent."""

from __future__ import annotations

import json
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from journals import CHECKS, LISTING, Made, document, first, header, offsets

from openbell.accepted import load_accepted
from openbell.journal import Journal
from openbell.reports import write_all
from openbell.reports.evidence import MOST_CONTENT, dump, indented
from openbell.reports.html import html
from openbell.reports.junit import junit
from openbell.reports.markdown import markdown
from openbell.reports.material import Material, gather
from openbell.reports.words import CUT, accepted_block, blocking, visible
from openbell.results import VERDICTS, Finding, Result, Results
from openbell.run import judged, write_results

NAMES = ("report.html", "junit.xml", "summary.md")
HOSTILE = "</pre><script>alert(1)</script>{{ 7*7 }}|`x`|\n# a\x00\x1b[31m\u202e]]>&amp;"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = offsets(tmp_path_factory.mktemp("runs") / "run", 10)
    write_all(found)
    return found


def result(verdict: str = "fail", text: str = "text", **changes: Any) -> Result:
    broken = verdict in {"fail", "warn", "info", "accepted"}
    findings = (Finding("skipped", text, f"1. {text}\n2. {text}", (1,)),) if broken else ()
    values = {"check": "PAG-002", "title": text, "area": "pagination", "level": "MUST", "subject": "collection:orders",
              "verdict": verdict, "reason": "no_sample" if verdict == "inconclusive" else None, "summary": text,
              "observed": {"holds": 1, "broken": 1, "undecided": 0}, "findings": findings, "sources": (text,),
              "remedy": text, "reproduce": text, "accepted": {"reason": text} if verdict == "accepted" else None}
    return Result(**values | changes)


def results(*found: Result, **changes: Any) -> Results:
    return Results(**{"suite": "0.1", "pack": None, "target": "made-up", "run": "r", "results": found} | changes)


class Reader(HTMLParser):
    """The tags of a document, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def parsed(content: bytes) -> Reader:
    reader = Reader()
    reader.feed(content.decode())
    return reader


# --- complete, and the same twice


def test_the_same_run_gives_the_same_bytes(folder, tmp_path):
    before = {name: (folder / name).read_bytes() for name in NAMES}
    write_all(folder)
    assert {name: (folder / name).read_bytes() for name in NAMES} == before
    assert not list(folder.glob(".*.part"))


def test_a_finding_tells_everything_that_a_reader_needs(folder):
    text = " ".join(parsed((folder / "report.html").read_bytes()).words)
    for wanted in ("does not conform", "PAG-002", "No stable item is skipped while others write",
                   "An item that was there before the first page", "5. ord_0019 belongs there", "DELETE",
                   '"id": "ord_0019"', "X-Correlation-Id", "openbell check profiles/reference.toml --only PAG-002",
                   "Page by a keyset", "Zalando RESTful API guidelines", "1.05 × its critical path"):
        assert wanted in text


def test_the_report_fetches_and_runs_nothing(folder):
    reader = parsed((folder / "report.html").read_bytes())
    assert not {"script", "link", "img", "iframe", "object", "form", "base"} & set(reader.tags)
    assert not [value for name, value in reader.attributes if name == "src" or name.startswith("on")]
    assert all((value or "").startswith("#") for name, value in reader.attributes if name == "href")
    assert "url(" not in (folder / "report.html").read_text()


def test_ids_are_unique(folder):
    ids = [value for name, value in parsed((folder / "report.html").read_bytes()).attributes if name == "id"]
    assert len(ids) == len(set(ids)) > 10


def test_the_block_to_paste_can_be_loaded(folder, tmp_path):
    block = accepted_block(blocking(gather(folder).results))
    (tmp_path / "accepted.toml").write_text(block)
    entries = load_accepted(tmp_path / "accepted.toml")
    assert [(e["check"], e["rules"]) for e in entries] == [
        ("PAG-002", ["skipped"]), ("PAG-003", ["repeated"]), ("PAG-006", ["cursor-row-error"])]
    assert block.count("# owner") == 4
    pasted = (folder / "summary.md").read_text().partition("```toml\n")[2].partition("```")[0]
    assert tomllib.loads(pasted) == tomllib.loads(block)


@pytest.mark.parametrize(("reason", "offered"), [
    ("noisy", True), ("no_sample", True), ("edge_generated", True), ("budget", False), ("precondition", False),
    ("no_reply", False), ("control_failed", False)])
def test_only_what_the_target_left_undecided_is_offered_for_acceptance(reason: str, offered: bool) -> None:
    found = results(result("inconclusive", reason=reason))
    assert bool(blocking(found)) == offered


def test_without_a_journal_the_reports_say_so(folder, tmp_path):
    (tmp_path / "results.json").write_bytes((folder / "results.json").read_bytes())
    write_all(tmp_path)
    assert "no exchange can be shown" in (tmp_path / "report.html").read_text()
    assert "no exchange can be shown" in (tmp_path / "summary.md").read_text()


def test_a_changed_journal_is_read_up_to_its_damage(folder, tmp_path):
    for name in ("results.json", "events.jsonl"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with (tmp_path / "events.jsonl").open("r+b") as journal:
        content = journal.read()
        journal.seek(content.rindex(b'"kind":"footer"') - 1)
        journal.write(b"!")
    write_all(tmp_path)
    assert "The journal is not whole" in (tmp_path / "report.html").read_text()
    assert "events.jsonl:" in (tmp_path / "summary.md").read_text()
    assert str(tmp_path) not in (tmp_path / "summary.md").read_text()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": "openbell-results", "version": 2}',
                                     '{"format": "openbell-results", "version": 1, "results": [{}]}'])
def test_what_is_no_results_file_is_an_oserror(tmp_path, content):
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(OSError, match=r"results\.json"):
        write_all(tmp_path)


# --- JUnit


@pytest.mark.parametrize(("verdict", "element"), [
    ("pass", None), ("fail", "failure"), ("error", "error"), ("inconclusive", "skipped"), ("accepted", "skipped"),
    ("not-applicable", "skipped"), ("warn", "system-out"), ("info", "system-out")])
def test_each_verdict_has_its_element(verdict, element):
    root = document(junit(Material(results(result(verdict)))))
    case = first(root, "testsuite/testcase")
    assert case.get("name") == "PAG-002 collection:orders"
    assert [child.tag for child in case] == ([element] if element else [])
    assert (root.get("failures"), root.get("errors"), root.get("skipped")) == (
        str(int(element == "failure")), str(int(element == "error")), str(int(element == "skipped")))


def test_an_undecided_must_is_skipped_with_its_reason():
    root = document(junit(Material(results(result("inconclusive", "few")))))
    case = first(root, "testsuite/testcase/skipped")
    assert case.get("message") == "no_sample: few"


def test_a_stale_entry_fails():
    root = document(junit(Material(results(result("pass"), stale=("PAG-002 on api (skipped)",)))))
    assert root.get("failures") == "1"
    assert first(root, "testsuite[@name='accepted']/testcase").get("name") == "PAG-002 on api (skipped)"


def test_nothing_judged_is_still_a_document():
    assert document(junit(Material(results()))).get("tests") == "0"
    assert b"not decided" in html(Material(results()))
    assert b"not decided" in markdown(Material(results()))


# --- hostile text


TEXTS = st.text(st.characters(), max_size=60) | st.just(HOSTILE)


@settings(max_examples=150, deadline=None)
@given(text=TEXTS, verdict=st.sampled_from(VERDICTS))
def test_any_text_gives_well_formed_documents(text, verdict):
    material = Material(results(result(verdict, text, subject=text, reproduce=text), target=text, stale=(text,)))
    assert document(junit(material)).get("tests") == "2"
    markdown(material).decode()
    reader = parsed(html(material))
    assert "script" not in reader.tags
    assert reader.tags.count("article") == (verdict not in {"pass", "not-applicable"})


@given(text=TEXTS)
def test_any_entry_is_valid_toml(text):
    entries = tomllib.loads(accepted_block([result("fail", subject=text)]))["accepted"]
    assert entries == [{"check": "PAG-002", "subject": visible(text, 500), "rules": ["skipped"]}]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.binary(min_size=1, max_size=20), content=st.binary(max_size=200) | st.just(HOSTILE.encode()))
def test_any_bytes_of_a_reply_are_shown_safely(tmp_path_factory, name, content):
    folder = tmp_path_factory.mktemp("hostile")
    made = Made(Journal(folder / "events.jsonl", header(("COR-001",))))
    made.note("control", "control@api", ok=True, why=None)
    made.exchange(HOSTILE, "GET", LISTING + HOSTILE, 200, headers=((name, content), (b"Via", HOSTILE.encode())),
                  content=content)
    made.journal.close()
    write_results(folder, judged(folder / "events.jsonl"))
    write_all(folder)
    reader = parsed((folder / "report.html").read_bytes())
    assert "script" not in reader.tags
    assert reader.tags.count("details") == 1
    assert not set((folder / "report.html").read_text()) & set("\x00\x1b\u202e")
    document((folder / "junit.xml").read_bytes())


def test_hostile_text_is_shown_as_text():
    reader = parsed(html(Material(results(result("fail", HOSTILE)))))
    assert "<script>alert(1)</script>{{ 7*7 }}" in " ".join(reader.words)
    summary = markdown(Material(results(result("fail", HOSTILE)))).decode()
    assert "\n# a" not in summary
    assert "`x`|" not in summary


def test_sizes_are_bounded():
    many = tuple(Finding(f"rule-{i % 40}", "x" * 10**6, "y" * 10**6, tuple(range(500))) for i in range(400))
    whole = Material(results(*[result("fail", "z" * 10**5, check=c, findings=many[:60]) for c in CHECKS]))
    assert len(html(whole)) < 3_000_000
    assert len(junit(whole)) < 3_000_000
    assert len(markdown(whole)) < 100_000


def test_findings_and_exchanges_are_bounded(tmp_path):
    made = Made(Journal(tmp_path / "events.jsonl", header(("COR-001",))))
    for _ in range(40):
        made.exchange("x", "GET", LISTING, 200, {"a": "b" * 9000}, headers=())
    made.journal.close()
    write_results(tmp_path, judged(tmp_path / "events.jsonl"))
    data = json.loads((tmp_path / "results.json").read_bytes())
    data["results"][0]["findings"] = [{"rule": "r", "expected": "", "actual": "", "events": list(range(1, 41))}] * 30
    (tmp_path / "results.json").write_text(json.dumps(data))
    write_all(tmp_path)
    content = (tmp_path / "report.html").read_bytes()
    assert parsed(content).tags.count("details") == 5 * 12
    assert b"content cut here: 9,009 bytes in all" in content


# --- the parts


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
                    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)))
def test_indented_json_is_the_same_json(value):
    text = json.dumps(value)
    shown = indented(text)
    if len(shown) < MOST_CONTENT:
        assert json.loads(shown) == value


def test_indented_json_keeps_every_number_as_written():
    assert indented('{"a":1.10,"b":[1e400,-0.0],"c":{},"d":[]}') == (
        '{\n  "a": 1.10,\n  "b": [\n    1e400,\n    -0.0\n  ],\n  "c": {},\n  "d": []\n}')


def test_other_bytes_are_a_hex_dump():
    assert dump(b"\x89PNG\xff") == "000000  89 50 4e 47 ff                                   .PNG."


@pytest.mark.parametrize(("text", "shown"), [
    ("a\x00b", "a\\u0000b"), ("\u202eabc", "\\u202eabc"), ("\ud800", "\\ud800"), ("a\r\nb\rc", "a\nb\\rc"),
    ("⟨full.token#2⟩", "⟨full.token#2⟩"), ("x" * 2001, "x" * 2000 + CUT)])
def test_unseen_characters_become_visible(text, shown):
    assert visible(text) == shown
