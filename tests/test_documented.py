"""docs/profile.md: its pieces are one whole profile, and what it says of outcomes and checks is so. docs/results.md:
its accepted.toml can be loaded, and every option of the pytest plugin is told."""

import re
import tomllib

from serving import HOUSE

from openbell.accepted import load_accepted
from openbell.loading import parse
from openbell.locate import FORMS
from openbell.profile import Profile
from openbell.registry import all_checks
from openbell.results import VERDICTS
from openbell.target import STANDARD

PLUGIN = HOUSE / "src" / "openbell" / "pytest_plugin.py"
RESULTS = (HOUSE / "docs" / "results.md").read_text()
TEXT = (HOUSE / "docs" / "profile.md").read_text()
WHOLE = tomllib.loads("\n".join(re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)))


def test_the_pieces_are_one_profile():
    profile = parse(WHOLE, "docs/profile.md")
    unmentioned = set(Profile.model_fields) - set(profile.model_fields_set)
    # These have pages of their own.
    assert unmentioned == {"stream", "fuzz", "load", "slo"}


def test_every_outcome_and_every_locator_is_told():
    for name in STANDARD:
        assert f"`{name}`" in TEXT
    for form in FORMS:
        assert f"`{form.split('/')[0]}" in TEXT


def test_the_checks_that_are_named_are_there():
    known = {c.id for c in all_checks()}
    assert set(re.findall(r"[A-Z]{2,4}-\d{3}", TEXT)) <= known


def test_the_accepted_entry_can_be_loaded(tmp_path):
    (path := tmp_path / "accepted.toml").write_text(re.findall(r"```toml\n(.*?)```", RESULTS, re.DOTALL)[0])
    assert load_accepted(path)[0]["expires"] == "2027-01-31"


def test_every_verdict_and_every_option_of_pytest_is_told():
    for verdict in VERDICTS:
        assert f"`{verdict}`" in RESULTS
    known = set(re.findall(r"--openbell-[a-z-]+", PLUGIN.read_text()))
    assert known == set(re.findall(r"--openbell-[a-z-]+", RESULTS))
