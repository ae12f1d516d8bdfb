"""The JSON Schema of target profiles, for editors. `python -m openbell.schema > docs/profile.schema.json` renews it."""

from __future__ import annotations

import json
import sys

from openbell.profile import Profile
from openbell.promises import PROMISES


def profile_schema() -> str:
    """The schema as JSON text; the promise table names every promise."""
    schema = Profile.model_json_schema(by_alias=True)
    states = schema["properties"]["promise"]["additionalProperties"]
    schema["properties"]["promise"] |= {
        "additionalProperties": False,
        "properties": {name: {**states, "description": text} for name, text in PROMISES.items()}}
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}, indent=1) + "\n"


if __name__ == "__main__":
    sys.stdout.write(profile_schema())
