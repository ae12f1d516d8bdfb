"""The application: FastAPI routes the table of operations, and one way through serves them all.

A request gets its correlation id first; then come routing, the gate, the body, the handler; every refusal, whoever
raised it, is written by the same part. The outermost layer turns what is left into a problem as well.
"""

import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from openbell.reference_server import bodies
from openbell.reference_server.access_log import logged, opened
from openbell.reference_server.behaviour import AsgiApp, Behaviour
from openbell.reference_server.calls import Call, World
from openbell.reference_server.database import Store, open_store
from openbell.reference_server.gate import Trail, admit, challenged, settle
from openbell.reference_server.hub import Market, Orders, epochs
from openbell.reference_server.openapi import documented
from openbell.reference_server.operations import Operation
from openbell.reference_server.seeds import fill
from openbell.reference_server.settings import Settings
from openbell.reference_server.stream_wire import Connection
from openbell.reference_server.tokens import query_names
from openbell.reference_server.values import Problem, Refused, Reply, Scope, header

TRAIL = "openbell.trail"
logger = logging.getLogger("openbell.reference_server")


@dataclass(frozen=True)
class Application:
    """An ASGI application that owns its database; close it when it serves no more."""

    inner: AsgiApp
    world: World

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await self.inner(scope, receive, send)

    def stream(self, *, config: Any, server_state: Any, app_state: Any) -> Connection:
        """The protocol that takes over a connection whose client asks for a stream, as uvicorn calls it."""
        del config, app_state
        return Connection(self.world, server_state.connections)

    @property
    def store(self) -> Store:
        return self.world.store

    def close(self) -> None:
        """Closes and removes the database."""
        self.world.store.close()


def send_able(world: World, trail: Trail, reply: Reply) -> Response:
    """The reply with the fields that every reply of this server carries."""
    limits = settle(world, trail, reply.status)
    length = () if reply.status == 304 else (("content-length", str(len(reply.content))),)
    fields = (*reply.fields, *limits, *world.behaviour.trace_fields(trail.correlation, reply.status), *length)
    response = Response(reply.content, reply.status)
    response.raw_headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]
    return response


def refusal(world: World, trail: Trail, problem: Problem) -> Response:
    """The response for a problem."""
    return send_able(world, trail, world.behaviour.write_error(challenged(world, problem), trail.correlation))


async def body_of(world: World, operation: Operation, request: Request) -> Any:
    """The body as the operation's model; raw for the token endpoint; nothing is read where nothing is expected."""
    if operation.body is None:
        return await bodies.read(request.scope, request.receive) if operation.public and operation.writes else b""
    bodies.require_json(request.scope)
    value = bodies.parse(await bodies.read(request.scope, request.receive))
    return world.behaviour.validate(operation.body, value)


async def handle(world: World, operation: Operation, request: Request, trail: Trail) -> Reply:
    """The gate, the body, the handler."""
    client = None if operation.public else admit(world, operation, request.scope, trail)
    body = await body_of(world, operation, request)
    call = Call(world, request.scope, client, request.path_params, query_names(request.scope), body)
    reply = operation.handle(call)
    return await reply if isinstance(reply, Awaitable) else reply


def endpoint(world: World, operation: Operation) -> Callable[[Request], Any]:
    """What the router calls for an operation."""

    async def respond(request: Request) -> Response:
        trail: Trail = request.scope[TRAIL]
        try:
            return send_able(world, trail, await handle(world, operation, request, trail))
        except Refused as refused:
            return refusal(world, trail, refused.problem)
        except Exception:  # whatever a handler raises is a 500 without internals, and the log has the rest
            logger.exception("%s crashed", operation.name)
            return refusal(world, trail, Problem("internal"))

    respond.__name__ = operation.name
    return respond


def methods_of(api: FastAPI, scope: Scope) -> tuple[str, ...]:
    """Every method that the router knows for the request's path."""
    matching = [route for route in api.routes if getattr(route, "path_regex", None) and matches(route, scope)]
    return tuple(sorted({method for route in matching for method in getattr(route, "methods", None) or ()}))


def matches(route: Any, scope: Scope) -> bool:
    return route.path_regex.match(scope["path"]) is not None


def route_errors(world: World, api: FastAPI) -> None:
    """What the router refuses becomes a problem; a 405 says truthfully what is allowed (RFC 9110 section 15.5.6)."""

    async def unrouted(request: Request, error: Exception) -> Response:
        trail: Trail = request.scope[TRAIL]
        if not isinstance(error, HTTPException) or error.status_code != 405:
            return refusal(world, trail, Problem("not_found"))
        allowed = world.behaviour.allow(request.method, methods_of(api, request.scope))
        fields = () if allowed is None else (("allow", allowed),)
        return refusal(world, trail, Problem("method_not_allowed", fields=fields))

    api.add_exception_handler(404, unrouted)
    api.add_exception_handler(405, unrouted)


def traced(world: World, api: AsgiApp) -> AsgiApp:
    """Gives each request its trail; answers for what escaped everything else."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope[TRAIL] = trail = Trail(world.behaviour.trace(header(scope, b"x-correlation-id")))
        try:
            await api(scope, receive, send)
        except Exception:  # a defect in the routing itself must not show a framework's page
            logger.exception("the router crashed")
            await refusal(world, trail, Problem("internal"))(scope, receive, send)

    return app


def route(world: World) -> FastAPI:
    """The router for the table of operations and the document."""
    api = FastAPI(title="openbell reference", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    for operation in documented():
        methods = ["GET", "HEAD"] if operation.method == "GET" else [operation.method]
        api.add_api_route(operation.path, endpoint(world, operation), methods=methods, response_model=None)
    route_errors(world, api)
    return api


def create_app(behaviour: Behaviour, settings: Settings) -> Application:
    """The server as an ASGI application with a freshly seeded database of its own."""
    store = open_store(settings.database, fill, settings.seed)
    key = os.urandom(32)
    orders = Orders(store, behaviour.streams, epochs(key))
    store.committed.append(orders.published)
    log = opened(settings.log)
    world = World(behaviour, settings, store, {}, {}, key, Market(behaviour.streams), orders, log)
    app: AsgiApp = route(world)
    app = reduce(lambda inner, wrap: wrap(inner), behaviour.wrappers, traced(world, app))
    return Application(logged(app, log), world)
