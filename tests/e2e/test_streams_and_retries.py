"""Cut and resumed streams judged beside the outbox itself; lost replies and what the proxy made of them."""

import json
import re
import sqlite3

import pytest
from serving import checked, events, reference_server, results, rules, verdicts


def outbox(database):
    """The sequence numbers of the streams' account, as the table has them."""
    with sqlite3.connect(database) as connection:
        rows = connection.execute("SELECT seq FROM outbox WHERE account = 'acct-streams' ORDER BY seq").fetchall()
    return [seq for (seq,) in rows]


def delivered(run):
    """The sequence numbers that the lives of the cut and resumed stream were given."""
    frames = (json.loads(e["payload"]) for e in events(run, ["frame"])
              if e["scenario"].startswith("stream_cut_and_resume") and e["opcode"] == 1 and e["by"] == "server")
    return {m["seq"] for m in frames if m["type"] == "update"}


def named(run):
    """The sequence numbers that the findings of WSR-002 name."""
    told = [f["actual"] for r in results(run)["results"] if r["check"] == "WSR-002" for f in r["findings"]]
    found = set()
    for first, last in re.findall(r"(\d+)(?:-(\d+))?", " ".join(told)):
        found |= set(range(int(first), int(last or first) + 1))
    return found


def lives(run):
    """The connections that were subscribed or resumed."""
    return [e for e in events(run, ["fact"]) if e["name"] == "stream_script" and e["data"]["answer"] == "ok"
            and e["data"]["script"] in {"subscribe", "resubscribe"} and e["data"]["label"].startswith("round:")]


def test_thirty_rounds_of_cut_and_resume_lose_nothing(tmp_path):
    database = tmp_path / "orders.db"
    with reference_server("--database", str(database)) as url:
        done, run = checked(url, tmp_path, "--only", "WSR-001", "--only", "WSR-002", "--only", "WSR-003")
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(verdicts(run).values()) == {"pass"}
    opened = [e for e in events(run) if e["label"].startswith("round:")]
    assert len(opened) == 31
    assert len(lives(run)) >= 20
    assert {e["route"] for e in opened} == {"direct", "relay"}
    got = delivered(run)
    assert got == {seq for seq in outbox(database) if min(got) <= seq <= max(got)}


def test_losses_are_named_as_the_outbox_names_them(tmp_path):
    database = tmp_path / "orders.db"
    with reference_server("--defect", "resume-live-edge", "--database", str(database)) as url:
        done, run = checked(url, tmp_path, "--only", "WSR-002")
    assert done.returncode == 1, done.stdout + done.stderr
    assert rules(run, "WSR-002") == {"lost-in-gap"}
    got = delivered(run)
    lost = {seq for seq in outbox(database) if min(got) <= seq <= max(got)} - got
    assert len(lost) > 20
    assert named(run) == lost


@pytest.fixture(scope="module")
def retried(tmp_path_factory):
    """Runs of the retry's check and a traffic check, on a conforming server and on one that orders again and leaves
    out correlation ids."""
    found = {}
    for name, defects in (("clean", ()), ("twice", ("retry-second-order", "correlation-missing-on-200"))):
        folder = tmp_path_factory.mktemp(name)
        with reference_server(*(part for defect in defects for part in ("--defect", defect))) as url:
            found[name] = checked(url, folder, "--only", "IDM-001", "--only", "COR-001")
    return found


def made(run):
    """The ids under the natural key after the retries."""
    return [e["data"]["ids"] for e in events(run, ["fact"]) if e["name"] == "counted" and e["data"]["label"] == "after"]


def test_a_lost_reply_leaves_one_order(retried):
    done, run = retried["clean"]
    assert done.returncode == 0, done.stdout + done.stderr
    lost = [e for e in events(run) if e["route"] == "proxy"]
    assert [(e["status"], e["operation"]) for e in lost] == [(None, "submit_order")]
    assert [len(ids) for ids in made(run)] == [1]
    fired = [e["data"]["fault"] for e in events(run, ["fact"]) if e["name"] == "fault_fired"]
    assert fired.count("LoseReply") == 1


def test_a_second_order_is_cited_with_the_first(retried):
    done, run = retried["twice"]
    assert done.returncode == 1, done.stdout + done.stderr
    assert rules(run, "IDM-001") == {"second-effect"}
    (ids,) = made(run)
    (finding,) = (f for r in results(run)["results"] if r["check"] == "IDM-001" for f in r["findings"])
    assert len(ids) > 1
    assert all(order in finding["actual"] for order in ids)
    cited = [e for e in events(run) if e["n"] in finding["events"]]
    assert {e["label"].partition(":")[0] for e in cited} >= {"lost", "retry", "walk"}
    assert all(any(order in json.dumps(e["reply"]) for e in cited if e["reply"]) for order in ids)


def test_no_traffic_check_cites_what_a_proxy_made(retried):
    _, run = retried["twice"]
    foreign = {e["n"] for e in events(run) if e["route"] != "direct"}
    cited = {n for r in results(run)["results"] if r["check"] == "COR-001" for f in r["findings"] for n in f["events"]}
    assert foreign
    assert cited
    assert not cited & foreign


def test_a_muted_client_is_dropped_while_the_other_stays(tmp_path):
    with reference_server() as url:
        _, run = checked(url, tmp_path, "--only", "WSH-004")
    assert verdicts(run) == {("WSH-004", "stream:orders"): "pass"}
    ends = {e["data"]["label"]: e for e in events(run, ["fact"]) if e["name"] == "stream_end"}
    (alive,) = (e for e in events(run, ["fact"]) if e["name"] == "idle_alive")
    assert alive["data"]["alive"] is True
    assert (ends["muted"]["data"]["side"], ends["muted"]["data"]["how"]) == ("server", "close 1011")
    assert ends["muted"]["at"] < alive["at"] < ends["idle"]["at"]
