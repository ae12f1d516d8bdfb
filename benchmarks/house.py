"""What the benchmarks share: a reference server in its own process, and runs against it."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from openbell.child import child
from openbell.loading import load
from openbell.loading import secrets as resolved
from openbell.run import Options, Run, run

PROFILE = Path(__file__).parents[1] / "profiles" / "reference.toml"
SECRET = "OPENBELL_REFERENCE_SECRET"


@asynccontextmanager
async def served(*arguments: str) -> AsyncIterator[tuple[str, str]]:
    """A reference server; gives its URL and its secret."""
    secret = secrets.token_urlsafe(24)
    words = ["--port", "0", "--stdin-ends", *arguments]
    async with child("openbell.reference_server", words, {SECRET: secret}) as said:
        yield said["ready"], secret


async def checked(url: str, secret: str, **options: object) -> Run:
    """One run, its files thrown away."""
    target = load(PROFILE, url)
    known = resolved(target, {**os.environ, SECRET: secret}, PROFILE.parent)
    with TemporaryDirectory() as folder:
        return await run(target, "profiles/reference.toml", known, Options(out=Path(folder), **options))  # type: ignore[arg-type]


def told(story: object) -> None:
    """Runs a coroutine to its end."""
    asyncio.run(story)  # type: ignore[arg-type]
