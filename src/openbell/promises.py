"""The promises that a target can make, in the words of the conventions.

A check names exactly one of them. The target's profile says of each `promised`, `not_promised` or `unknown`; what it
leaves out is `unknown`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

State = Literal["promised", "not_promised", "unknown"]

PROMISES: Mapping[str, str] = {
    "http.methods": "a method that is not supported is refused with 405 and a truthful Allow",
    "http.invalid_input": "malformed and invalid input is refused with a 4xx",
    "http.status_codes": "status codes are registered and used in their class",
    "errors.media_type": "every error has a parseable, declared media type",
    "errors.body": "an error body has a code, a message for people and a correlation id",
    "errors.no_internals": "errors show nothing of the implementation",
    "errors.uniform": "errors of every layer have one shape",
    "trace.every_reply": "every reply carries a correlation id, the same in header and error body",
    "trace.unique": "correlation ids made by the server are unique",
    "pages.complete": "following the cursor ends, and serves every item once",
    "pages.no_loss": "no stable item is skipped while others write",
    "pages.no_duplicates": "no stable item is served twice while others write",
    "pages.order": "the order across pages is total and stable",
    "pages.cursor_row": "a walk goes on when the cursor's own row has gone",
    "pages.opaque": "cursors are opaque, tamper-evident and carry no authority",
    "pages.size_limits": "page sizes have a default and a maximum, and invalid ones are refused",
    "auth.challenge": "a request without credentials gets 401 and a challenge",
    "auth.invalid_token": "an invalid token gets 401",
    "auth.no_secret_in_url": "credentials are not accepted or repeated in URLs",
    "credentials.expiry": "a token works until it expires, and not after",
    "limits.throttled": "above the limit the answer is 429 with Retry-After",
    "limits.retry_after": "waiting as long as Retry-After says is enough",
    "limits.fields": "rate-limit fields parse under one declared dialect",
    "limits.remaining": "the remaining quota is told truthfully",
    "streams.pong": "a ping is answered by a pong with its payload",
    "streams.heartbeat": "the server beats as often as it says",
    "streams.dead_client": "a client that no longer answers is dropped",
    "streams.authentication": "a stream gives protected data only to whom it belongs",
    "streams.order": "positions of updates are ordered and without gaps",
    "streams.no_loss": "nothing is lost over a reconnect within the retention",
    "streams.delivery": "the promised delivery holds on replay",
    "streams.refusal": "a position that cannot be served is refused openly",
    "streams.bound": "a position gives nobody another's data",
    "streams.back_pressure": "a slow consumer is handled openly and harms nobody else",
    "streams.expiry": "a stream does not outlive its credential",
    "idempotency.retry": "a retry with the same key has one effect",
    "idempotency.concurrent": "concurrent requests with the same key have one effect",
    "fuzz.no_server_error": "no input that the document allows or forbids makes the server fail",
    "fuzz.documented_status": "every status that is used is documented for its operation",
    "fuzz.documented_reply": "replies have the media types, fields and content that the document gives them",
    "fuzz.invalid_refused": "what the document forbids is refused",
    "fuzz.methods": "methods that the document does not have are refused",
    "fuzz.authentication": "an operation that the document protects needs valid credentials",
}
