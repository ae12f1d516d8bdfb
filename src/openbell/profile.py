"""The target profile: what a target is, what it promises, and what the harness may do to it.

Twelve tables (target, credential, operation, outcome, envelope, page, limit, stream, promise, load, fuzz, slo) of
frozen models. Dialects are named and chosen per operation. A profile is validated whole; every error is told at once
with its TOML path.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from openbell.locate import locator_error
from openbell.promises import State

Allow = Literal["read", "write", "disrupt", "load"]
Role = Literal["list", "read", "create", "amend", "cancel", "replace", "token", "other"]
Kind = Literal["api", "operation", "collection", "stream", "principal", "limit"]
COUNTED = frozenset({"number", "offset"})
SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "QUERY", "PROPFIND", "SEARCH", "REPORT"})


def _locator(value: str) -> str:
    if error := locator_error(value):
        raise ValueError(error)
    return value


def _secret(value: str) -> str:
    if not value.startswith(("env:", "file:")) or value in {"env:", "file:"}:
        raise ValueError("a secret is given by reference: env:NAME or file:PATH, never in the profile itself")
    return value


def _origin(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ValueError("an absolute http or https URL without query, fragment or credentials, "
                         "such as https://api.example.com")
    return value.rstrip("/")


Locator = Annotated[str, AfterValidator(_locator)]
Secret = Annotated[str, AfterValidator(_secret)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Positive = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
Pointer = Annotated[str, Field(pattern=r"^(/.*)?$")]
Status = Annotated[int, Field(ge=100, le=999)]
Scalar: TypeAlias = str | int | float | bool


class Table(BaseModel):
    """A frozen table that refuses members it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Target(Table):
    """Where the API is and what may be done to it."""

    name: str
    base_url: Annotated[str, AfterValidator(_origin)]
    environment: Literal["sandbox", "production"] = "sandbox"
    allow: tuple[Allow, ...] = ("read",)
    allow_in_production: tuple[Allow, ...] = ()
    hosts: tuple[str, ...] = ()
    max_rate: Positive = 20.0
    max_created: Annotated[int, Field(ge=0)] = 500
    timeout_s: Annotated[float, Field(gt=0, le=300)] = 10.0
    headers: Mapping[str, str] = Field(default_factory=dict)
    ca_bundle: str | None = None
    proxy: str | None = None
    openapi: str | None = None
    unknown_path: str = "/openbell-no-such-route"
    control: str | None = None


class Step(Table):
    """One layer of a principal's credentials.

    `oauth2` fetches a bearer token by the named operation (client credentials); `static` puts a secret in a header by
    a template with `{secret}`; `basic` is HTTP Basic, with the secret as user name where there is no client_id.
    `lifetime_s` and `leeway_s` (seconds) are what the target's
    documentation says of its tokens; the lifetime in a token reply goes before it.
    """

    kind: Literal["oauth2", "static", "basic"]
    operation: str | None = None
    client_id: str | None = None
    secret: Secret
    client_auth: Literal["basic", "body"] = "basic"
    scope: str | None = None
    header: str = "Authorization"
    template: str = "Bearer {secret}"
    lifetime_s: Positive = 3600.0
    leeway_s: Annotated[float, Field(ge=0, le=3600)] = 60.0


class Credential(Table):
    """A principal: its role, the values that its requests use, and its stack of credentials."""

    role: Literal["full", "read_only", "other_tenant"] = "full"
    sacrificial: tuple[Literal["limits", "expiry", "pages", "streams", "idle", "fuzz"], ...] = ()
    values: Mapping[str, str] = Field(default_factory=dict)
    stack: tuple[Step, ...] = ()


class Predicate(Table):
    """One test of a located value."""

    at: Locator
    equals: Scalar | None = None
    within: tuple[Scalar, ...] | None = Field(default=None, alias="in")
    matches: str | None = None
    present: bool | None = None


class Outcome(Table):
    """A named predicate over a reply: one of the statuses, and all of the tests."""

    status: tuple[Status, ...] = ()
    all: tuple[Predicate, ...] = ()


class Trace(Table):
    """Where the correlation id is: `header` on replies, `body` (a pointer) in error bodies."""

    header: str | None = None
    body: Pointer | None = None
    on: Literal["every", "errors"] = "every"
    header_only: bool = False


class Envelope(Table):
    """The shape of an error body. Statuses in `no_body` come without content by contract."""

    media_types: tuple[str, ...] = ("application/problem+json", "application/json")
    code: tuple[Pointer, ...] = ("/code",)
    message: tuple[Pointer, ...] = ("/detail", "/title", "/message")
    no_body: tuple[Status, ...] = ()
    kind: Literal["api", "oauth"] = "api"
    trace: Trace = Trace()


class SortKey(Table):
    """One part of the sort key: where it stands in an item, and how it compares."""

    at: Pointer
    type: Literal["text", "decimal", "integer", "time"] = "text"
    descending: bool = False


class Page(Table):
    """How a listing is cut into pages.

    With `number` and `offset` the caller counts pages or the rows that were served; `first` is where it begins, by
    default page 1 or row 0. Such a listing ends where `end` holds, where nothing stands at `next`, or where `total`
    rows were served (so it must be exact); without any of them at a page that is empty or shorter than those before.
    `next` is by default body:/next_cursor, and with `number` and `offset` nothing.
    """

    mechanism: Literal["token", "url", "last_key", "number", "offset"] = "token"
    items: Pointer = "/items"
    id: Pointer = "/id"
    next: Locator | None = None
    end: Predicate | None = None
    put: str = "cursor"
    first: Annotated[int, Field(ge=0)] | None = None
    size: str = "limit"
    default: Annotated[int, Field(gt=0)] | None = None
    maximum: Annotated[int, Field(gt=0)] | None = None
    total: Locator | None = None
    model: Literal["unknown", "keyset", "snapshot"] = "unknown"

    @model_validator(mode="before")
    @classmethod
    def _next(cls, given: Any) -> Any:
        """Where the next cursor stands unless the profile says it; a position that is counted needs none."""
        if not isinstance(given, dict) or "next" in given or given.get("mechanism") in COUNTED:
            return given
        return {**given, "next": "body:/next_cursor"}

    @property
    def counted(self) -> bool:
        """Whether the caller makes the position itself, by counting."""
        return self.mechanism in COUNTED


class Collection(Table):
    """A listing under test: how items enter, leave and move, and by what key they are sorted.

    `insert_at` says where a new item lands: `key` (the caller chooses, by the parameter `key`), `head` or `tail`.
    `sorts` names the query parameters of the two directions. Without `insert` the listing is only read.
    """

    sort: tuple[SortKey, ...] = ()
    insert: str | None = None
    leave: str | None = None
    move: str | None = None
    insert_at: Literal["key", "head", "tail"] = "key"
    key: str | None = None
    sorts: Mapping[Literal["ascending", "descending"], Mapping[str, str]] = Field(default_factory=dict)


class Operation(Table):
    """One method and path template with a role. `{name}` in path, query and body is filled from the call's
    parameters, the principal's values, and `{unique}`."""

    role: Role
    method: Annotated[str, Field(pattern=r"^[A-Z]+$")]
    path: Annotated[str, Field(pattern=r"^/")]
    query: Mapping[str, str] = Field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    form: bool = False
    headers: Mapping[str, str] = Field(default_factory=dict)
    public: bool = False
    requires: Literal["read", "write"] | None = None
    envelope: str = "default"
    page: str | None = None
    id: Pointer | None = None
    natural_key: str | None = None
    idempotency: Idempotency | None = None
    undo: str | None = None
    collection: Collection | None = None
    values: Mapping[str, str] = Field(default_factory=dict)

    @property
    def writes(self) -> bool:
        """Whether calling it may change something."""
        return (self.requires or ("read" if self.method in SAFE else "write")) == "write"


class Limit(Table):
    """One bucket: what counts against it, how much it holds, and how its fields are spelled."""

    operations: tuple[str, ...]
    scope: Literal["principal", "unknown"] = "principal"
    model: Literal["token_bucket", "fixed_window", "sliding_window", "unknown"] = "unknown"
    capacity: Annotated[int, Field(gt=0, le=100000)]
    per_s: Positive
    dialect: Literal["draft", "three_field", "x_ratelimit", "none"] = "draft"
    probe: str


class Heartbeat(Table):
    """Who beats, how, how often, and how long an answer may take.

    With `ping` the server sends Ping frames, to be answered with Pong; with `message` what the class `heartbeat` says.
    `answer_within_s` is how long a client may leave a beat unanswered; None where the server does not look.
    """

    by: Literal["server", "client", "both"] = "server"
    kind: Literal["ping", "message"] = "ping"
    every_s: Positive = 30.0
    idle_only: bool = False
    answer_within_s: Positive | None = None


class Turn(Table):
    """One step of a script: the message that is sent, and how its answer is known.

    Strings in `send` are filled from the principal's values, from `{token}`, and to resume from `{position}` and
    `{epoch}`.
    """

    send: Mapping[str, Any] | None = None
    expect: Predicate | None = None


class Sequence(Table):
    """How an update tells its position: pointers into the message.

    `id` is the event's identity, the same whenever it is delivered; `previous` is the position of the update before
    it, where positions may leave numbers out; `step` is by how much they grow, where they leave none out; `epoch`
    changes when positions start anew.
    """

    at: Pointer
    id: Pointer
    epoch: Pointer | None = None
    previous: Pointer | None = None
    step: Annotated[int, Field(gt=0)] | None = None


class Published(Table):
    """What makes updates: the operation `by`, and where an update names what that operation made (`key`).

    `truth` is the listing that tells over REST what was published, oldest first; its items have the members of an
    update.
    """

    by: str
    key: Pointer
    truth: str | None = None


MessageClass = Literal["ack", "error", "heartbeat", "snapshot", "update", "gap", "control"]


class Stream(Table):
    """One WebSocket stream: where it is, how one enters it, how it lives and how it recovers.

    `url` is a path below base_url, or a ws(s) URL. `resubscribe` stands for `subscribe` where a position is given.
    A message is of the first class whose test holds, and an update where no class says what that is. The class `gap`
    tells that continuity is lost. `retention` counts updates, `buffer_bytes` what may lie between the server and a
    client that does not read, `life_s` is the longest session. `per_delivery` points to what an update says of its own
    delivery, such as when it was sent: all else is the event's, and the same whenever it is delivered.
    """

    url: str
    codec: Literal["json"] = "json"
    auth: Literal["handshake", "message", "none"] = "handshake"
    principal: str | None = None
    login: tuple[Turn, ...] = ()
    login_within_s: Positive | None = None
    subscribe: tuple[Turn, ...] = ()
    resubscribe: tuple[Turn, ...] = ()
    classes: Mapping[MessageClass, Predicate] = Field(default_factory=dict)
    heartbeat: Heartbeat | None = None
    sequence: Sequence | None = None
    per_delivery: tuple[Pointer, ...] = ()
    published: Published | None = None
    resume: Literal["none", "resubscribe_snapshot", "rest_backfill", "replay"] = "none"
    retention: Annotated[int, Field(gt=0, le=100_000)] | None = None
    within_s: Positive = 5.0
    delivery: Literal["unknown", "at_least_once", "exactly_once"] = "unknown"
    slow: Literal["unknown", "close", "conflate", "gap_marker"] = "unknown"
    busy: bool = False
    buffer_bytes: Annotated[int, Field(gt=0)] = 8 * 1024 * 1024
    life_s: Positive | None = None
    grace_s: Annotated[float, Field(ge=0, le=3600)] = 60.0


class Idempotency(Table):
    """How a create carries its key: a header field, bare or as a quoted string."""

    header: str = "Idempotency-Key"
    quoted: bool = False


class Load(Table):
    """What may be offered to the target under load, and as whom.

    `operations` weighs each operation among those of its role, `principals` take turns. `max_rate` bounds the peak of
    the arrivals (per second), `max_created` what one run may create, `max_streams` what it may hold; `stream` is the
    one that a reconnect storm opens, by default the first.
    """

    principals: tuple[str, ...]
    operations: Mapping[Name, Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]]
    max_rate: Positive = 50.0
    max_created: Annotated[int, Field(ge=0)] = 1000
    max_streams: Annotated[int, Field(ge=0)] = 100
    stream: str | None = None


class Fuzz(Table):
    """What Schemathesis may do with the target's OpenAPI document (`target.openapi`), and as whom.

    `budget` counts requests, its checks' own among them; `max_rate` is per second, `max_s` bounds the whole in seconds.
    `exclude` names operations that are never called; those that give tokens never are.
    """

    principal: str
    budget: Annotated[int, Field(gt=0, le=100_000)] = 200
    max_rate: Positive = 100.0
    max_s: Annotated[float, Field(gt=0, le=3600)] = 120.0
    exclude: tuple[str, ...] = ()


Rules = Mapping[str, tuple[str, ...]]


class Profile(Table):
    """A whole target profile. `slo` holds rules by load profile and by phase; a phase `*` is the whole run."""

    target: Target
    credential: Mapping[Name, Credential] = Field(default_factory=dict)
    operation: Mapping[Name, Operation] = Field(default_factory=dict)
    outcome: Mapping[Name, Outcome] = Field(default_factory=dict)
    envelope: Mapping[Name, Envelope] = Field(default_factory=lambda: {"default": Envelope()})
    page: Mapping[Name, Page] = Field(default_factory=dict)
    limit: Mapping[Name, Limit] = Field(default_factory=dict)
    stream: Mapping[Name, Stream] = Field(default_factory=dict)
    promise: Mapping[str, State] = Field(default_factory=dict)
    load: Load | None = None
    fuzz: Fuzz | None = None
    slo: Mapping[str, Rules] = Field(default_factory=dict)
