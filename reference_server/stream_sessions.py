"""What a client says on a stream, and what it is told: login, subscribe, resume, errors."""

import json
import logging
import re
from dataclasses import dataclass
from typing import Protocol

from openbell.reference_server import outbox
from openbell.reference_server.calls import World
from openbell.reference_server.gate import granted
from openbell.reference_server.hub import framed, update
from openbell.reference_server.settings import CLIENTS, Client
from openbell.reference_server.stream_parts import LOGIN_REFUSED, RETENTION, After, Consumer, Log
from openbell.reference_server.tokens import Grant
from openbell.reference_server.values import Json, Refused, Scope

NUMBER = re.compile(r"[0-9]{1,18}")
DETAILS = {
    "unauthenticated": "Log in first.",
    "invalid_token": "The access token is not one that this server issued.",
    "token_expired": "The access token has expired; ask for a new one.",
    "invalid_request": "The credentials were sent in more than one way.",
    "forbidden": "This client may not see that account.",
    "malformed": "The message is not one that this stream knows.",
    "position_too_old": "The position is older than what is retained; subscribe without one.",
    "position_unknown": "There is no such position; subscribe without one.",
    "epoch_changed": "The position is of another epoch; subscribe without one.",
    "internal": "The server failed to handle the message; it has been recorded.",
}
logger = logging.getLogger("openbell.reference_server")


class Malformed(Exception):
    """A message that nobody can act upon."""


class Line(Consumer, Protocol):
    """The connection under a session."""

    scope: Scope
    correlation: str

    def until(self, name: str, moment: float | None) -> None:
        """Sets the moment, in monotonic seconds, at which something ends; None takes it away."""


@dataclass
class Session:
    """One connection's client and subscription. channel: orders or market, as the URL says."""

    world: World
    line: Line
    channel: str
    client: Client | None = None
    account: str | None = None

    def say(self, message: Json) -> None:
        """Sends a message."""
        self.line.put(framed(message))

    def refuse(self, code: str) -> None:
        """Sends an error, or ends the stream where that is how such things are refused."""
        closing = self.world.behaviour.streams.closes(code)
        if closing is not None:
            self.line.end(closing, code)
            return
        detail, correlation = DETAILS[code], self.line.correlation
        self.say({"type": "error", "code": code, "detail": detail, "correlation_id": correlation})

    def leave(self) -> None:
        """Nothing is delivered from now on."""
        if self.account is not None:
            self.world.orders.leave(self.account, self.line)
        self.world.market.leave(self.line)
        self.account = None

    def received(self, content: bytes) -> None:
        """Acts upon a message; whatever goes wrong is an error on the stream."""
        try:
            message = json.loads(content)
            known = {"login": self.login, "subscribe": self.subscribe}
            known[str(message["op"])](message)
        except (ValueError, KeyError, TypeError, RecursionError, Malformed):
            self.refuse("malformed")
        except Refused as refused:
            self.refuse(refused.problem.code)
        except Exception:  # whatever a part raises is told without internals, and the log has the rest
            logger.exception("the stream crashed")
            self.refuse("internal")

    # --- who it is

    def login(self, message: Json) -> None:
        """Takes a token; raises Refused for one that is not good."""
        if not isinstance(message["token"], str):
            raise Malformed
        field = (b"authorization", b"Bearer " + message["token"].encode("utf-8", "replace"))
        self.enter(granted(self.world, {**self.line.scope, "headers": [field], "query_string": b""}))
        self.say({"type": "logged_in"})

    def enter(self, grant: Grant) -> None:
        """The stream is the grant's client's until the grant ends."""
        self.leave()
        self.client = CLIENTS[grant.client]
        self.line.until("login", None)
        self.line.until("token", self.world.behaviour.streams.ends(grant))

    def token_ended(self) -> None:
        """Tells it, and ends the stream."""
        detail = DETAILS["token_expired"]
        self.say({"type": "error", "code": "token_expired", "detail": detail, "correlation_id": self.line.correlation})
        self.line.end(LOGIN_REFUSED, "token_expired")

    # --- what it gets

    def subscribe(self, message: Json) -> None:
        """Subscribes to the channel, from now on or from a position."""
        if message["channel"] != self.channel:
            raise Malformed
        if self.channel == "market":
            self.subscribe_market()
        else:
            self.subscribe_orders(message["account"], position(message.get("after")))

    def subscribe_market(self) -> None:
        market = self.world.market
        seen = {"channel": "market", "account": None, "epoch": market.epoch, "seq": market.seq}
        self.say({"type": "subscribed", **seen, "recovered": None})
        market.join(self.line)

    def subscribe_orders(self, account: Json, after: After | None) -> None:
        """Refuses, or acknowledges, replays and goes live in one turn."""
        if not isinstance(account, str):
            raise Malformed
        parts, store = self.world.behaviour.streams, self.world.store
        refused = parts.may_subscribe(self.client, account, after is not None)
        log = Log(self.world.epoch(account), outbox.head(store, account),
                  outbox.behind(store, account, after.seq) if after else 0)
        refused = refused or (parts.refuse_position(after, log) if after else None)
        if refused:
            self.refuse(refused)
            return
        self.leave()
        seen = {"channel": self.channel, "account": account, "epoch": log.epoch, "seq": log.head}
        self.say({"type": "subscribed", **seen, "recovered": True if after else None})
        self.account = account
        if after:
            self.replay(account, after)
        if parts.goes_live(after is not None):
            self.world.orders.join(account, self.line)

    def replay(self, account: str, after: After) -> None:
        """Sends what came after the position."""
        parts, store, epoch = self.world.behaviour.streams, self.world.store, self.world.epoch(account)
        own, missed = (
            [update(outbox.event_json(row, epoch)) for row in rows]
            for rows in (outbox.at(store, account, after.seq), outbox.since(store, account, after.seq, RETENTION))
        )
        for one in parts.replay(own, missed):
            for shown in parts.outgoing(one):
                self.say(shown)


def position(value: Json) -> After | None:
    """The position that a message names, its number as a number or as text; None where it names none."""
    if value is None:
        return None
    epoch, seq = value["epoch"], value["seq"]
    if not isinstance(epoch, str) or isinstance(seq, bool) or not NUMBER.fullmatch(str(seq)):
        raise Malformed
    return After(epoch, int(seq))
