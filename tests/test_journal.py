"""The journal: what goes in comes out; a cut is read up to the cut; an edit is seen."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openbell.events import Exchange, Fact, Frame, Message, event_from, event_json
from openbell.journal import Header, Journal, JournalError, read

HEADER = Header("0", "run", "2026-11-26T00:00:00+00:00", 1, "t.toml", {"target": {"name": "t"}})

messages = st.builds(Message, st.lists(st.tuples(st.binary(max_size=8), st.binary(max_size=8)), max_size=3).map(tuple),
                     st.binary(max_size=40), st.integers(0, 99), st.booleans(), st.sampled_from(["", "gzip"]))
events = st.one_of(
    st.builds(Exchange, st.integers(1, 9), st.text(max_size=5), st.text(max_size=5), st.just("scenario"),
              st.just("direct"), st.integers(0, 9), st.none() | st.just("full"), st.none(), st.just("GET"), st.text(),
              messages, st.none() | st.integers(100, 999), st.none() | messages, st.none(), st.just(1.5), st.none(),
              st.just(2.25)),
    st.builds(Frame, st.integers(1, 9), st.text(max_size=5), st.just("l"), st.just("direct"), st.integers(0, 9),
              st.just(0.5), st.sampled_from(["client", "server"]), st.integers(0, 15), st.binary(max_size=30)),
    st.builds(Fact, st.integers(1, 9), st.text(max_size=5), st.just(1.0), st.text(max_size=5),
              st.dictionaries(st.text(max_size=4), st.integers() | st.text(max_size=4), max_size=3)))


@settings(max_examples=60, derandomize=True)
@given(events)
def test_every_event_survives_its_json_form(event):
    data = json.loads(json.dumps(event_json(event)))
    assert event_from(data) == event


def written(path, count=3):
    journal = Journal(path, HEADER)
    facts = [journal.append(Fact(0, "s", float(i), "note", {"i": i})) for i in range(count)]
    journal.close()
    return facts


def test_events_are_numbered_and_read_back(tmp_path):
    facts = written(tmp_path / "e.jsonl")
    reading = read(tmp_path / "e.jsonl")
    assert [f.n for f in facts] == [1, 2, 3]
    assert list(reading) == facts
    assert reading.torn is None
    assert reading.header == HEADER


@pytest.mark.parametrize("cut", [2, 30, 120, 200])
def test_a_killed_run_is_read_up_to_the_cut(tmp_path, cut):
    path = tmp_path / "e.jsonl"
    written(path)
    path.write_bytes(path.read_bytes()[:-cut])
    reading = read(path)
    assert len(list(reading)) >= 2
    assert reading.torn


@pytest.mark.parametrize(("old", "new"), [(b'"i":1', b'"i":7'), (b'"seed":1', b'"seed":2')])
def test_a_changed_journal_is_refused(tmp_path, old, new):
    path = tmp_path / "e.jsonl"
    written(path)
    path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.raises(JournalError, match="digest chain"):
        list(read(path))


@pytest.mark.parametrize("content", [b"", b"{}\n", b"[]\n", b"lorem\n", b'{"format":"openbell-journal","version":9}\n',
                                     b'{"format":"openbell-journal","version":1}\n'])
def test_what_is_no_journal_is_told_so(tmp_path, content):
    path = tmp_path / "e.jsonl"
    path.write_bytes(content)
    with pytest.raises(JournalError):
        read(path)


@pytest.mark.parametrize("line", [b"lorem\n", b'{"kind":"exchange"}\n', b'{"kind":"pigeon"}\n', b"3\n"])
def test_a_foreign_line_is_named_by_its_number(tmp_path, line):
    path = tmp_path / "e.jsonl"
    written(path, 0)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + line)
    with pytest.raises(JournalError, match=r"e\.jsonl:2"):
        list(read(path))


def test_the_gate_refuses_a_line(tmp_path):
    def gate(line: bytes) -> None:
        if b"hunter2" in line:
            raise ValueError("leak")
    journal = Journal(tmp_path / "e.jsonl", HEADER, gate)
    with pytest.raises(ValueError, match="leak"):
        journal.append(Fact(0, "s", 0.0, "note", {"p": "hunter2"}))
    journal.close()
    assert list(read(tmp_path / "e.jsonl")) == []
