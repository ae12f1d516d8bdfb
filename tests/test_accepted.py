"""accepted.toml: read whole, every mistake told at once with its path."""

import pytest

from openbell.accepted import AcceptedError, load_accepted

GOOD = """
[[accepted]]
check = "PAG-002"
subject = "collection:list_open_orders"
rules = ["skipped"]
owner = "orders team"
reason = "fixed with the new cursor"
ticket = "ORD-17"
expires = 2027-01-31

[[accepted]]
check = "COR-001"
subject = "api"
rules = ["missing-on-401", "no_sample"]
"""


def written(tmp_path, text):
    path = tmp_path / "accepted.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_entries_are_kept_in_order_with_the_date_as_text(tmp_path):
    first, second = load_accepted(written(tmp_path, GOOD))
    assert first == {"check": "PAG-002", "subject": "collection:list_open_orders", "rules": ["skipped"],
                     "owner": "orders team", "reason": "fixed with the new cursor", "ticket": "ORD-17",
                     "expires": "2027-01-31"}
    assert second == {"check": "COR-001", "subject": "api", "rules": ["missing-on-401", "no_sample"]}


def test_an_empty_file_accepts_nothing(tmp_path):
    assert load_accepted(written(tmp_path, "")) == ()


ENTRY = '[[accepted]]\ncheck = "COR-001"\nsubject = "api"\nrules = ["x"]\n'


@pytest.mark.parametrize(("text", "told"), [
    (ENTRY.replace("COR-001", "COR-01"), "accepted.0.check: no such check: 'COR-01'\n    did you mean 'COR-001'?"),
    (ENTRY.replace('"COR-001"', "7"), "accepted.0.check: no such check: '7'"),
    (ENTRY.replace('"api"', '"orders"'), "accepted.0.subject: no subject: 'orders'"),
    (ENTRY.replace('"api"', '"collection:"'), "accepted.0.subject: no subject"),
    (ENTRY.replace('["x"]', "[]"), "accepted.0.rules: is no list of rules"),
    (ENTRY.replace('["x"]', '["Not A Slug"]'), "accepted.0.rules: is no list of rules"),
    (ENTRY.replace('["x"]', '"x"'), "accepted.0.rules: is no list of rules"),
    (ENTRY.replace('subject = "api"\n', ""), "accepted.0.subject: is missing"),
    (ENTRY + 'expires = "2027-01-31"\n', "accepted.0.expires: is no date"),
    (ENTRY + "expires = 2027-01-31T00:00:00Z\n", "accepted.0.expires: is no date"),
    (ENTRY + "owner = 7\n", "accepted.0.owner: is no text"),
    (ENTRY + 'rule = ["x"]\n', "accepted.0.rule: no such member\n    did you mean 'rules'?"),
    (ENTRY + ENTRY, "accepted.1: says again what is accepted of COR-001 on api"),
    ("accepted = 3\n", "accepted: is no list of tables"),
    ("accepted = [3]\n", "accepted.0: is no table"),
    ("[[acepted]]\n", "acepted: no such table"),
    ("check = ", "(file): not TOML"),
])
def test_a_mistake_is_told_with_its_path(tmp_path, text, told):
    with pytest.raises(AcceptedError) as error:
        load_accepted(written(tmp_path, text))
    assert told in str(error.value)


def test_all_mistakes_are_told_at_once(tmp_path):
    text = ENTRY + 'expires = "soon"\n' + ENTRY.replace("COR-001", "XYZ").replace('["x"]', "[]")
    with pytest.raises(AcceptedError) as error:
        load_accepted(written(tmp_path, text))
    assert [p.path for p in error.value.problems] == ["accepted.0.expires", "accepted.1.check", "accepted.1.rules"]


@pytest.mark.parametrize("make", [lambda p: p, lambda p: p.write_bytes(b"\xff") and p,
                                  lambda p: p.write_bytes(b"#" * (1 << 20) + b"#") and p])
def test_a_file_that_cannot_be_read_is_a_mistake_too(tmp_path, make):
    path = tmp_path / "accepted.toml"
    make(path)
    with pytest.raises(AcceptedError, match=r"accepted\.toml: 1 mistake"):
        load_accepted(path)
