"""The server on real ports: the command, many servers in one process, null servers, the log, ends."""

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import sys
from contextlib import asynccontextmanager

import aiohttp
import pytest

from openbell.reference_server.command import main
from openbell.reference_server.nulls import NULLS

SECRET = "a secret of the tests"
VARIABLE = "OPENBELL_REFERENCE_SECRET"
WAIT_S = 20


@asynccontextmanager
async def command(*arguments, secret=SECRET):
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "openbell.reference_server",
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment | ({VARIABLE: secret} if secret else {}),
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def ready(process):
    return json.loads(await asyncio.wait_for(process.stdout.readline(), WAIT_S))["ready"]


async def ended(process):
    return await asyncio.wait_for(process.wait(), WAIT_S)


@pytest.fixture
async def http():
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=WAIT_S)) as session:
        yield session


async def token(http, url, client="full"):
    form = {"grant_type": "client_credentials", "client_id": client, "client_secret": SECRET}
    async with http.post(f"{url}/oauth/token", data=form) as got:
        return (await got.json())["access_token"]


async def test_it_serves_logs_and_ends_with_its_input(http, tmp_path):
    log = tmp_path / "access.jsonl"
    async with command("--stdin-ends", "--log", str(log)) as process:
        url = await ready(process)
        headers = {"Authorization": f"Bearer {await token(http, url)}"}
        async with http.get(f"{url}/v1/accounts", headers=headers) as got:
            assert got.status == 200
            assert got.headers["Date"].endswith("GMT")
            assert "Server" not in got.headers
        async with http.get(f"{url}/nowhere") as got:
            assert got.status == 404
        process.stdin.close()
        assert await ended(process) == 0
        assert await process.stderr.read() == b""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    shown = [(one["client"], one["method"], one["path"], one["status"]) for one in lines]
    assert shown == [
        (None, "POST", "/oauth/token", 200),
        ("full", "GET", "/v1/accounts", 200),
        (None, "GET", "/nowhere", 404),
    ]
    assert SECRET not in log.read_text()


async def test_a_database_that_was_asked_for_is_kept(http, tmp_path):
    file = tmp_path / "kept.sqlite"
    async with command("--stdin-ends", "--database", str(file)) as process:
        headers = {"Authorization": f"Bearer {await token(http, url := await ready(process), 'streams')}"}
        order = {"client_order_id": "a", "symbol": "AAPL", "side": "buy", "quantity": "1", "price": "1"}
        async with http.post(f"{url}/v1/accounts/acct-streams/orders", json=order, headers=headers) as got:
            assert got.status == 201
        process.stdin.close()
        assert await ended(process) == 0
    with contextlib.closing(sqlite3.connect(file)) as database:
        rows = database.execute("SELECT account, seq, kind FROM outbox").fetchall()
        assert rows == [("acct-streams", 1, "submitted")]


async def test_it_ends_by_signal():
    async with command() as process:
        await ready(process)
        process.send_signal(signal.SIGTERM)
        assert await ended(process) == 0


@pytest.mark.parametrize(
    ("arguments", "secret", "said"),
    [
        ([], None, VARIABLE),
        (["--defect", "none-such"], SECRET, "none-such"),
        (["--matrix", "null:none-such"], SECRET, "none-such"),
        (["--matrix", "none-such"], SECRET, "none-such"),
    ],
)
def test_wrong_usage_is_one_plain_line(monkeypatch, capsys, arguments, secret, said):
    monkeypatch.delenv(VARIABLE, raising=False)
    if secret:
        monkeypatch.setenv(VARIABLE, secret)
    with pytest.raises(SystemExit) as ending:
        main(arguments)
    assert ending.value.code == 3
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert said in lines[0]


async def test_many_servers_in_one_process(http):
    names = ("clean:conforming", "defect:status-460", "benign:next-null", *(f"null:{name}" for name in NULLS))
    async with command("--stdin-ends", *(word for name in names for word in ("--matrix", name))) as process:
        urls = await ready(process)
        assert set(urls) == set(names)
        for name, status in (("clean:conforming", 404), ("defect:status-460", 460)):
            headers = {"Authorization": f"Bearer {await token(http, urls[name])}"}
            async with http.get(f"{urls[name]}/v1/accounts/acct-full/orders/none", headers=headers) as got:
                assert got.status == status
        for status in (200, 404, 500, 429):
            async with http.put(f"{urls[f'null:always-{status}']}/x", data=b"y") as got:
                assert (got.status, await got.json()) == (status, {})
        await check_bare(http, urls)


async def check_bare(http, urls):
    async with http.post(f"{urls['null:echoes']}/x", json={"a": 1}) as got:
        assert await got.json() == {"a": 1}
    async with http.get(f"{urls['null:echoes']}/x?a=1") as got:
        assert await got.json() == {"a": "1"}
    with pytest.raises(aiohttp.ClientConnectorError):
        await http.get(urls["null:refuses"])
    with pytest.raises(TimeoutError):
        await http.get(urls["null:hangs"], timeout=aiohttp.ClientTimeout(total=0.3))
