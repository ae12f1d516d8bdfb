"""The schemas in docs/ are those of this code."""

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest

from openbell.schema import profile_schema

DOCS = Path(__file__).parents[1] / "docs"
PROFILES = sorted((Path(__file__).parents[1] / "profiles").glob("*.toml"))


def test_the_profile_schema_is_up_to_date():
    assert (DOCS / "profile.schema.json").read_text() == profile_schema()


@pytest.mark.parametrize("path", PROFILES, ids=lambda p: p.stem)
def test_every_profile_fits_the_schema(path):
    jsonschema.validate(tomllib.loads(path.read_text()), json.loads(profile_schema()))


def test_a_wrong_profile_does_not_fit():
    data = tomllib.loads(PROFILES[0].read_text())
    data["promise"]["pages.noloss"] = "promised"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, json.loads(profile_schema()))


def test_the_results_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(json.loads((DOCS / "results.schema.json").read_text()))
