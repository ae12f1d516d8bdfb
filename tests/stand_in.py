"""A small target for tests of the doors: tokens, a keyset listing, create, amend, cancel. Runs in its own thread."""

import asyncio
import threading
import uuid
from decimal import Decimal

from aiohttp import web

SECRET = "canary-secret-8f2c1d7e"
PROFILE = """
[target]
name = "stand-in"
base_url = "BASE"
allow = ["read", "write"]
max_rate = 5000
control = "read_status"

[credential.full]
stack = [{ kind = "oauth2", operation = "issue_token", client_id = "full", secret = "env:STAND_IN_SECRET" }]

[operation.issue_token]
role = "token"
method = "POST"
path = "/token"
public = true
form = true

[operation.read_status]
role = "read"
method = "GET"
path = "/status"

[operation.list_orders]
role = "list"
method = "GET"
path = "/orders"
page = "cursor"
collection = { insert = "submit_order", leave = "cancel_order", move = "amend_order", key = "price", sort = [
    { at = "/price", type = "decimal" }, { at = "/id" }] }

[operation.submit_order]
role = "create"
method = "POST"
path = "/orders"
body = { reference = "{unique}", price = "{price}" }
values = { price = "100.00" }
natural_key = "/reference"
undo = "cancel_order"

[operation.read_order]
role = "read"
method = "GET"
path = "/orders/{id}"
values = { id = "none" }

[operation.amend_order]
role = "amend"
method = "PATCH"
path = "/orders/{id}"
body = { price = "{price}" }
values = { id = "none", price = "100.00" }

[operation.cancel_order]
role = "cancel"
method = "DELETE"
path = "/orders/{id}"
values = { id = "none" }

[page.cursor]
default = 20
maximum = 20

[envelope.default]
trace = { header = "X-Trace", body = "/trace" }

[promise]
"trace.every_reply" = "promised"
"trace.unique" = "not_promised"
"pages.no_loss" = "promised"
"""


class StandIn:
    """The server's state, and the ways in which a test makes it misbehave."""

    def __init__(self) -> None:
        self.orders: dict[str, dict[str, str]] = {}
        self.requests: list[tuple[str, str]] = []
        self.swallow = 0  # this many creates are done, but their connection is closed without a reply
        self.traced = True
        self.refuse_cancel = False
        self.cancel_answers = 0  # a status with which a cancel is answered and not done
        self.drop_rows = False
        self.counted = ""  # by what pages are asked for instead of a cursor: "number" from 1 on, or "offset"
        self.token_delay_s = 0.0
        self.base = ""

    @property
    def profile(self) -> str:
        return PROFILE.replace("BASE", self.base)

    def _error(self, status: int, code: str) -> web.Response:
        trace = str(uuid.uuid4())
        return web.json_response({"code": code, "detail": f"it is {code}", "trace": trace}, status=status,
                                 headers={"X-Trace": trace})

    async def answer(self, request: web.BaseRequest) -> web.Response:
        self.requests.append((request.method, request.path))
        try:
            reply = await self._routed(request)
        except web.HTTPRequestEntityTooLarge:
            reply = self._error(413, "too_large")
        except (ValueError, ArithmeticError, LookupError, TypeError, RecursionError):
            reply = self._error(400, "invalid")
        if self.traced:
            reply.headers.setdefault("X-Trace", str(uuid.uuid4()))
        else:
            reply.headers.popall("X-Trace", None)
        return reply

    async def _routed(self, request: web.BaseRequest) -> web.Response:
        if request.path == "/token":
            await asyncio.sleep(self.token_delay_s)
            return web.json_response({"access_token": "tok-" + uuid.uuid4().hex, "expires_in": 600})
        if not request.headers.get("Authorization", "").startswith("Bearer tok-"):
            return self._error(401, "unauthenticated")
        if request.path == "/status":
            return web.json_response({"status": "open"})
        if request.path == "/orders":
            return self._page(request) if request.method == "GET" else await self._create(request)
        order = self.orders.get(request.path.removeprefix("/orders/"))
        return await self._order(request, order) if order else self._error(404, "not_found")

    async def _create(self, request: web.BaseRequest) -> web.Response:
        body = await request.json()
        order = {"id": uuid.uuid4().hex, "reference": body["reference"], "price": str(Decimal(body["price"]))}
        self.orders[order["id"]] = order
        if self.swallow:
            self.swallow -= 1
            assert request.transport
            request.transport.close()
        return web.json_response(order, status=201)

    async def _order(self, request: web.BaseRequest, order: dict[str, str]) -> web.Response:
        if request.method == "PATCH":
            order["price"] = str(Decimal((await request.json())["price"]))
        elif request.method == "DELETE":
            if self.refuse_cancel:
                return self._error(403, "forbidden")
            if self.cancel_answers:
                return web.json_response(status=self.cancel_answers)
            del self.orders[order["id"]]
        return web.json_response(order)

    def _page(self, request: web.BaseRequest) -> web.Response:
        def key(order: dict[str, str]) -> tuple[Decimal, str]:
            return Decimal(order["price"]), order["id"]
        if self.counted:
            return self._counted(sorted(self.orders.values(), key=key), request)
        price, _, last = request.query.get("cursor", "").partition("|")
        rows = sorted((o for o in self.orders.values() if not last or key(o) > (Decimal(price), last)), key=key)
        size = int(request.query.get("limit", "20"))
        page, rest = rows[:size], rows[size:]
        more = {"next_cursor": "{price}|{id}".format(**page[-1])} if rest else {}
        return web.json_response({"items": page[1:] if last and self.drop_rows else page, **more})


    def _counted(self, rows: list[dict[str, str]], request: web.BaseRequest) -> web.Response:
        size, at = (int(request.query.get(name, default)) for name, default in (
            ("limit", "20"), (self.counted, str(int(self.counted == "number")))))
        if size < 1 or at < (self.counted == "number"):
            return self._error(400, "invalid")
        size = min(size, 20)
        start = size * (at - 1) if self.counted == "number" else at
        return web.json_response({"items": rows[start:start + size]})


class Running:
    """A stand-in on a free port, in a thread of its own."""

    def __init__(self) -> None:
        self.server = StandIn()
        self._up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    async def _serve(self) -> None:
        self._loop, self._down = asyncio.get_running_loop(), asyncio.Event()
        # Clients that are killed reset their connections; the server library tells of each by a traceback.
        self._loop.set_exception_handler(lambda _loop, _context: None)
        runner = web.ServerRunner(web.Server(self.server.answer), shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.server.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._up.set()
        await self._down.wait()
        await runner.cleanup()

    def __enter__(self) -> StandIn:
        self._thread.start()
        assert self._up.wait(10)
        return self.server

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._down.set)
        self._thread.join(10)
