"""Where the reference server's profile lies, in the house and in a wheel, and which variable holds its secret."""

from pathlib import Path

PROFILE = Path(__file__).parent / "profiles" / "reference.toml"
SECRET = "OPENBELL_REFERENCE_SECRET"  # noqa: S105 - the name of a variable
SHOWN = "profiles/reference.toml"
