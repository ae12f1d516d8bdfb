"""Load runs against the reference server: what breaks only under load is caught, and nothing of it is a secret."""

import json

import pytest
from jsonschema import validate
from serving import CANARY, PROFILE, openbell, reference_server, rules, spellings, verdicts

SCHEMA = json.loads((PROFILE.parents[1] / "docs" / "load.schema.json").read_text())
BELL = ("load", "market-open", PROFILE, "--peak", "150", "--duration", "8")


def offered(url, folder, *arguments):
    done = openbell(*BELL, "--base-url", url, "--out", folder, *arguments, cwd=folder)
    assert "Traceback" not in done.stdout + done.stderr
    run = next(p for p in folder.iterdir() if (p / "load.json").exists())
    data = json.loads((run / "load.json").read_text())
    validate(data, SCHEMA)
    return done, run, data


def test_the_correlation_id_that_is_dropped_only_under_load(tmp_path):
    with reference_server("--defect", "correlation-id-dropped-under-load", "--token-lifetime", "60") as url:
        done, run, data = offered(url, tmp_path)
    assert verdicts(run / "quiet")["COR-001", "api"] == "pass"
    assert verdicts(run)["COR-001", "api"] == "fail"
    found = [f for f in data["conformance"]["only_under_load"] if f["check"] == "COR-001"]
    assert {f["rule"] for f in found} == rules(run, "COR-001")
    assert all(f["rule"].startswith("missing-on-") for f in found)
    events = {e["n"]: e for e in map(json.loads, (run / "events.jsonl").read_text().splitlines()) if "n" in e}
    assert "load" in {events[n]["origin"] for f in found for n in f["events"]}
    # A broken convention is a failure, also where a busy machine leaves the rules undecided.
    assert done.returncode == 1
    assert "only under load" in (run / "load.html").read_text()
    judged = openbell("judge", run / "events.jsonl", "--out", tmp_path / "again", cwd=tmp_path)
    assert judged.returncode in {1, 2}
    assert (tmp_path / "again" / "results.json").read_bytes() == (run / "results.json").read_bytes()
    for path in run.rglob("*.*"):
        content = path.read_bytes()
        assert not [s for s in spellings(CANARY) if s in content], path


@pytest.mark.parametrize(("defect", "broken"), [
    ("stall-at-bell", "open: p99 < 400ms"), ("slow-under-burst", "open: p99 < 400ms"),
    ("500s-at-bell", "open: errors < 1%")])
def test_rules_are_broken_by_what_happens_at_the_bell(tmp_path, defect, broken):
    with reference_server("--defect", defect, "--token-lifetime", "60") as url:
        done, _, data = offered(url, tmp_path, "--no-scenarios", "--slo", broken)
    (rule,) = data["rules"]
    arrivals = data["arrivals"]
    assert arrivals["planned"] == arrivals["started"] == arrivals["finished"]
    assert rule["low"] > rule["limit"]
    # On a machine that is too busy the generator is unfit, and no rule fails.
    lame = rule["why"].startswith(("the generator", "worker"))
    assert (done.returncode, rule["verdict"]) == ((2, "invalid") if lame else (1, "fail"))


def test_the_clean_server_under_the_same_load(tmp_path):
    with reference_server("--token-lifetime", "60") as url:
        done, run, data = offered(url, tmp_path, "--no-quiet", "--slo", "open: errors < 1%")
    assert [v for v in verdicts(run).values() if v in {"fail", "error"}] == []
    assert data["rules"][0]["measured"] == 0.0
    assert data["sampled"] > 100
    assert done.returncode in {0, 2}
    # All that the load made was undone, by its own cancels or by the cleaning after it.
    lines = [line for path in run.glob("*.jsonl") for line in path.read_text().splitlines()]
    facts = [e for e in map(json.loads, lines) if e["kind"] == "fact"]
    intents = {name: {f["data"]["intent"] for f in facts if f["name"] == name} for name in ("made", "undone")}
    assert intents["made"]
    assert intents["made"] <= intents["undone"]
    assert "are still there" not in done.stdout


def test_streams_are_dropped_and_come_back(tmp_path):
    with reference_server("--token-lifetime", "60") as url:
        done = openbell("load", "reconnect-storm", PROFILE, "--peak", "30", "--duration", "6", "--no-scenarios",
                        "--base-url", url, "--out", tmp_path, cwd=tmp_path)
    data = json.loads(next(tmp_path.glob("*/load.json")).read_text())
    validate(data, SCHEMA)
    assert data["recovery"]["50"] <= data["recovery"]["99"] <= data["recovery"]["100"] < 6 * 0.6
    alive = [n for _, n in data["series"]["alive"]]
    assert max(alive) == 30
    assert alive[-1] in {0, 30}
    assert done.returncode in {0, 2}
