"""`pytest --openbell-target`: checks as items, the same engine, whatever pytest.ini stands around."""

import json
import time
import xml.etree.ElementTree as ET

import pytest
from stand_in import SECRET

from openbell import pytest_door

COR = ("--openbell-only", "COR-001")
PAG = ("--openbell-only", "PAG-002")
INI = """
[pytest]
filterwarnings = error
addopts = --strict-markers --strict-config -p no:cacheprovider
asyncio_mode = {mode}
asyncio_default_fixture_loop_scope = function
testpaths = mine
"""
MINE = """
import pytest

@pytest.mark.asyncio
async def test_hands(api, target):
    reply = await api.call("submit_order", by="full", label="mine")
    assert reply.ok
    assert target.target.name == "stand-in"
    assert len(api.made) == 1

def test_plain(target):
    assert target.operation
"""


@pytest.fixture
def session(pytester, stand_in):
    """Runs pytest inside pytest, against the stand-in."""
    (pytester.path / "stand-in.toml").write_text(stand_in.profile)
    pytester.makeini(INI.format(mode="strict"))
    (pytester.path / "mine").mkdir()

    def run(*arguments):
        return pytester.runpytest_inprocess("--openbell-target", "stand-in.toml", *arguments)
    return run


def change(pytester, old, new):
    path = pytester.path / "stand-in.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def read_only(pytester):
    """Makes a run short: what writes is kept back."""
    change(pytester, 'allow = ["read", "write"]', 'allow = ["read"]')


def results(pytester):
    """The results of the one run, by check."""
    (path,) = pytester.path.glob("openbell-results/*/results.json")
    return {r["check"]: r for r in json.loads(path.read_text())["results"]}


def test_without_its_options_the_plugin_does_nothing(pytester):
    pytester.makepyfile("""
        import sys
        def test_nothing():
            assert sorted(m for m in sys.modules if m.startswith("openbell")) == ["openbell", "openbell.pytest_plugin"]
    """)
    result = pytester.runpytest_subprocess("-p", "no:schemathesis", "-p", "no:locust")
    result.assert_outcomes(passed=1)
    assert "openbell:" not in result.stdout.str()


def test_a_fulfilled_check_passes_and_the_results_are_written(session, pytester):
    result = session(*COR, *PAG)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["openbell: target stand-in at http://127.0.0.1:*", "collected 2 items",
                                 "openbell ..*", "conforms: 2 pass", "results: *results.json"])
    assert {c: r["verdict"] for c, r in results(pytester).items()} == {"COR-001": "pass", "PAG-002": "pass"}


def test_a_broken_must_fails_with_all_that_is_needed_and_no_traceback(session, pytester, stand_in):
    stand_in.traced = False
    result = session(*COR, "--junitxml", "j.xml")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([
        "MUST COR-001 on api: *", "fail: *", "  rule      missing-on-*", "  expected  X-Trace on *",
        "  actual    status * without it", "  events    *", "remedy: *",
        "reproduce: openbell check stand-in.toml --only COR-001 --seed 0", "does not conform: 1 fail"])
    assert "Traceback" not in result.stdout.str()
    assert "pytest_door.py" not in result.stdout.str()
    root = ET.parse(pytester.path / "j.xml").getroot()  # noqa: S314 - our own file
    (case,), (failure,) = root.iter("testcase"), root.iter("failure")
    assert (case.get("classname"), case.get("name")) == ("openbell", "COR-001[api]")
    assert "missing-on-" in str(failure.text)
    assert [p.attrib for p in root.iter("property")] == [{"name": "openbell_verdict", "value": "fail"}]


def test_a_scenario_check_fails_while_the_run_goes_on_and_as_the_run_says(session, pytester, stand_in):
    stand_in.drop_rows = True
    session(*PAG, "-v").assert_outcomes(failed=1)
    found = results(pytester)["PAG-002"]
    assert found["verdict"] == "fail"
    assert "skipped" in {f["rule"] for f in found["findings"]}


def test_an_undecided_must_is_a_failed_item(session, pytester):
    read_only(pytester)
    result = session(*PAG)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["inconclusive (not_allowed): needs the permission write*"])


def test_a_failed_control_fails_every_item(session, pytester):
    change(pytester, 'path = "/status"', 'path = "/nowhere"')
    result = session(*COR, *PAG)
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["inconclusive (control_failed): the control failed: read_status got status 404*"])


def test_what_is_not_promised_is_skipped_with_its_reason(session, pytester):
    change(pytester, '"pages.no_loss" = "promised"', '"pages.no_loss" = "not_promised"')
    read_only(pytester)
    result = session(*PAG, "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED*the profile says that the API does not promise it"])


def test_what_is_unknown_passes_with_the_line_to_paste(session, pytester, stand_in):
    stand_in.traced = False
    change(pytester, '"trace.every_reply" = "promised"\n', "")
    result = session(*COR, "-rP")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(['info: the profile is silent; *"trace.every_reply" = "not_promised"'])


def test_an_accepted_deviation_passes_and_a_stale_one_fails_the_session(session, pytester, stand_in):
    read_only(pytester)
    entry = '[[accepted]]\ncheck = "PAG-002"\nsubject = "collection:list_orders"\nrules = ["{}"]\n'
    (pytester.path / "a.toml").write_text(entry.format("not_allowed"))
    result = session(*PAG, "--openbell-accepted", "a.toml", "-rP")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["accepted: not_allowed"])
    assert result.ret == 0
    (pytester.path / "a.toml").write_text(entry.format("skipped"))
    change(pytester, 'allow = ["read"]', 'allow = ["read", "write"]')
    result = session(*PAG, "--openbell-accepted", "a.toml")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["accepted, but not seen: PAG-002 on collection:list_orders (skipped)"])
    assert result.ret == 1
    # It says nothing of a check that does not run.
    session("--openbell-only", "AUT-001", "--openbell-accepted", "a.toml").stdout.no_fnmatch_line("accepted, but*")


def test_collecting_sends_nothing_and_needs_no_secret(session, stand_in, monkeypatch):
    monkeypatch.delenv("STAND_IN_SECRET")
    result = session("--collect-only", "-q")
    result.stdout.fnmatch_lines(["openbell::PAG-002*collection:list_orders*", "openbell::COR-001*api*"])
    assert stand_in.requests == []


@pytest.mark.parametrize(("arguments", "kept"), [
    (("-k", "PAG-002"), {"PAG-002"}), (("-m", "must and correlation"), {"COR-001"}),
])
def test_only_what_was_not_deselected_is_run(session, pytester, arguments, kept):
    session(*COR, *PAG, *arguments).assert_outcomes(passed=1, deselected=1)
    other = session(*COR, *PAG, arguments[0], f"not ({arguments[1]})", "--collect-only")
    other.assert_outcomes(deselected=1)
    assert set(results(pytester)) == kept


def test_a_session_with_every_check_deselected_sends_nothing(session, stand_in, pytester):
    (pytester.path / "mine" / "test_mine.py").write_text(MINE)
    result = session("-m", "not openbell", "-k", "plain")
    assert result.parseoutcomes()["passed"] == 1
    assert stand_in.requests == []
    assert not (pytester.path / "openbell-results").exists()


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_users_own_tests_get_hands_and_the_profile(session, pytester, stand_in, mode):
    pytester.makeini(INI.format(mode=mode))
    (pytester.path / "mine" / "test_mine.py").write_text(MINE)
    read_only(pytester)
    result = session(*COR)
    result.assert_outcomes(passed=3)
    assert stand_in.orders == {}
    journals = [p.read_text() for p in pytester.path.glob("openbell-results/*/events.jsonl")]
    (own,) = [j for j in journals if '"source":"pytest"' in j.partition("\n")[0]]
    assert '"scenario":"mine/test_mine.py::test_hands"' in own
    assert json.loads(own.splitlines()[-1])["kind"] == "footer"


def test_what_a_users_test_cannot_undo_is_told(session, pytester, stand_in):
    stand_in.orders["x"] = {"id": "x", "reference": "x", "price": "1"}
    (pytester.path / "mine" / "test_mine.py").write_text("""
import pytest

@pytest.mark.asyncio
async def test_fails(api):
    await api.call("submit_order", by="full", label="mine")
    assert False, "the user's own failure"
""")
    result = session("-k", "test_fails")
    result.assert_outcomes(failed=1, deselected=pytest.approx(20, abs=20))
    result.stdout.fnmatch_lines(["*the user's own failure*", "journal of the tests that used api: *events.jsonl"])
    assert set(stand_in.orders) == {"x"}


def test_x_stops_the_engine_and_the_results_are_still_written(session, pytester, stand_in):
    stand_in.token_delay_s = 8.0
    (pytester.path / "mine" / "test_mine.py").write_text("def test_mine(): assert False")
    before = time.monotonic()
    result = session(*COR, *PAG, "-x")
    result.assert_outcomes(failed=1)
    assert time.monotonic() - before < 6
    result.stdout.fnmatch_lines(["the run was ended early*"])
    assert {r["verdict"] for r in results(pytester).values()} == {"inconclusive"}


def test_x_after_a_failed_check_leaves_nothing_on_the_target(session, stand_in, pytester):
    stand_in.traced = False
    stand_in.drop_rows = True
    result = session(*COR, *PAG, "-x")
    result.assert_outcomes(failed=1)
    assert stand_in.orders == {}


@pytest.mark.parametrize(("old", "new", "told"), [
    ('role = "token"', 'role = "tokn"', ["*operation.issue_token.role: *", "*operation.read_order.pth: *"]),
    ("max_rate = 5000", "max_rate = -1", ["*target.max_rate: *"]),
])
def test_all_mistakes_of_the_profile_are_told_as_wrong_usage(session, pytester, old, new, told):
    change(pytester, old, new)
    change(pytester, "[operation.read_order]\n", '[operation.read_order]\npth = "/"\n')
    result = session()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(told)
    assert "Traceback" not in result.stderr.str() + result.stdout.str()


@pytest.mark.parametrize(("arguments", "told"), [
    (("--openbell-only", "NO-1"), "*no check matches: NO-1*"),
    (("--openbell-accepted", "none.toml"), "*none.toml*cannot be read*"),
    (("--openbell-seed", "-1"), "*--openbell-seed*"),
    (("--openbell-max-rate", "0"), "*--openbell-max-rate*"),
    (("--openbell-max-rate", "nan"), "*--openbell-max-rate*"),
    (("--openbell-base-url", "ftp://x"), "*target.base_url: *"),
    (("--openbell-journal", "x.jsonl"), "*it cannot go with --openbell-target*"),
])
def test_wrong_usage_is_told_in_plain_words(session, pytester, arguments, told):
    result = session(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    pytest.LineMatcher((result.stdout.str() + result.stderr.str()).splitlines()).fnmatch_lines(
        [told] if "cannot be read" not in told else ["*none.toml*", "*cannot be read*"])


def test_a_missing_secret_is_told_before_anything_is_sent(session, stand_in, monkeypatch):
    monkeypatch.delenv("STAND_IN_SECRET")
    result = session()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*the environment variable STAND_IN_SECRET is not set*"])
    assert stand_in.requests == []


def test_options_without_a_target_are_wrong_usage(pytester):
    result = pytester.runpytest_inprocess("--openbell-seed", "1")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--openbell-seed: needs --openbell-target*"])


def test_xdist_is_refused_in_plain_words(session, pytester, stand_in):
    pytester.makeconftest("""
        def pytest_addoption(parser):
            parser.addoption("--numprocesses", type=int)
            parser.addoption("--dist", default="no")
    """)
    result = session("--numprocesses", "2")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*openbell does not run under pytest-xdist*Leave out -n*"])
    assert stand_in.requests == []
    assert session("--numprocesses", "0", "--collect-only").ret == 0


def test_errors_in_collection_start_no_run(session, pytester, stand_in):
    (pytester.path / "mine" / "test_mine.py").write_text("import no_such_module")
    result = session(*COR)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert stand_in.requests == []


def test_a_journal_is_judged_in_place_of_a_run(session, pytester, stand_in):
    session(*COR, *PAG)
    (path,) = pytester.path.glob("openbell-results/*/events.jsonl")
    before, sent = (path.parent / "results.json").read_bytes(), len(stand_in.requests)
    result = pytester.runpytest_inprocess("--openbell-journal", str(path))
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["openbell: journal of stand-in at *", "conforms: 2 pass"])
    assert (path.parent / "results.json").read_bytes() == before
    assert len(stand_in.requests) == sent
    path.write_bytes(path.read_bytes().replace(b'"status":200', b'"status":201', 1))
    result = pytester.runpytest_inprocess("--openbell-journal", str(path))
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*the digest chain does not match*"])


def test_a_file_that_is_no_journal_is_wrong_usage(pytester):
    (pytester.path / "x.jsonl").write_text("{}\n")
    for name, told in (("x.jsonl", "*not an openbell journal*"), ("none.jsonl", "*none.jsonl: No such file*")):
        result = pytester.runpytest_inprocess("--openbell-journal", name)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([told])


def test_the_api_cannot_be_called_when_a_journal_is_judged(session, pytester):
    read_only(pytester)
    session(*PAG)
    (path,) = pytester.path.glob("openbell-results/*/events.jsonl")
    (pytester.path / "mine" / "test_mine.py").write_text(MINE)
    result = pytester.runpytest_inprocess("--openbell-journal", str(path))
    result.assert_outcomes(passed=1, failed=1, errors=1)
    result.stdout.fnmatch_lines(["*the fixture api needs --openbell-target*"])


def test_no_secret_is_in_any_file_or_line(session, pytester, stand_in):
    stand_in.traced = False
    (pytester.path / "mine" / "test_mine.py").write_text(MINE)
    result = session(*COR, *PAG, "--junitxml", "j.xml", "-rA")
    said = result.stdout.str() + result.stderr.str()
    for path in (p for p in pytester.path.rglob("*") if p.is_file()):
        said += path.read_text(errors="replace")
    assert SECRET not in said
    assert "tok-" not in said


def test_a_crash_of_the_run_fails_every_item_without_a_traceback(session, pytester):
    (pytester.path / "openbell-results").write_text("a file where the folder should be")
    result = session(*COR, *PAG)
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*the run failed: *Error: *"])
    assert "Traceback" not in result.stdout.str()


def test_what_the_target_sends_cannot_move_the_cursor():
    assert pytest_door.printable("a\x1b[2Jb\r\u202ec\ud800é") == "a\\x1b[2Jb\\r\\u202ec\\ud800é"
