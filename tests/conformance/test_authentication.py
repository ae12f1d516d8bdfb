"""AUT-001, AUT-002, AUT-012 on made-up events, and the bad credentials that are sent for them."""

import base64
import random
import re

import pytest
from made import exchange, profile, recording, said

from openbell.conformance.authentication import bad_tokens_refused, challenged, no_secret_in_url, secret_in_url
from openbell.profile import Step
from openbell.scenarios.bad_credentials import bad_values, for_any_caller, near_values, protected, query_names
from openbell.target import Subject

TARGET = profile()
PROBLEM = {"code": "unauthenticated", "detail": "Bring a token."}
TOKEN = "⟨full.token#1⟩"
GOOD = exchange("control:anonymous")


def judged(check, *events):
    return said(check.judge(recording(GOOD, *events, GOOD), TARGET, Subject("api")))


def reply(label, status, challenge=None, **changes):
    fields = {} if challenge is None else {"WWW-Authenticate": challenge}
    return exchange(label, status, PROBLEM, fields={**fields, **changes.pop("fields", {})}, **changes)


# --- AUT-001


@pytest.mark.parametrize(("status", "challenge", "word"), [
    (401, 'Bearer realm="openbell"', "holds"),
    (401, "ApiKey", "holds"),
    (401, None, "challenge-missing"),
    (401, "", "challenge-missing"),
    (401, '"Bearer"', "challenge-malformed"),
    (401, 'Bearer realm="x", error="invalid_token"', "error-in-challenge"),
    (200, None, "unprotected"),
    (500, None, "server-error"),
    (404, None, "?precondition"),
    (None, None, "?no_reply"),
])
def test_challenges(status, challenge, word):
    assert judged(challenged, reply("anonymous:list_positions", status, challenge)) == [word]


def test_another_refusal_is_a_warning_where_credentials_help():
    events = reply("anonymous:list_positions", 404), exchange("same:list_positions")
    [one] = challenged.judge(recording(GOOD, *events, GOOD), TARGET, Subject("api"))
    assert (one.rule, one.level) == ("not-401", "SHOULD")


def test_a_write_that_validates_first_is_a_warning():
    submit = reply("anonymous:submit_order", 422, operation="submit_order", method="POST")
    amend = reply("anonymous:amend_order", 404, operation="amend_order", method="PATCH")
    assert judged(challenged, submit) == ["not-401"]
    assert judged(challenged, amend) == ["?precondition"]


def test_without_a_bracket_nothing_is_decided():
    failed = exchange("control:anonymous", 401)
    probe = reply("anonymous:list_positions", 200)
    assert said(challenged.judge(recording(failed, probe, GOOD), TARGET, Subject("api"))) == ["?control_failed"]


def test_nothing_harmful_is_called_without_credentials():
    writes = protected(TARGET, writes=True)
    assert "submit_order" in writes
    assert "cancel_order" not in writes
    assert "issue_token" not in writes
    assert "read_status" not in protected(TARGET, writes=False)


# --- AUT-002

INVALID = 'Bearer realm="openbell", error="invalid_token"'


@pytest.mark.parametrize(("kind", "status", "challenge", "word"), [
    ("random", 401, INVALID, "holds"),
    ("random", 401, "ApiKey", "holds"),
    ("random", 401, None, "holds"),
    ("random", 401, "Bearer", "error-attribute-missing"),
    ("random", 403, None, "not-401"),
    ("random", 400, None, "not-401"),
    ("random", 200, None, "bad-token-accepted"),
    ("truncated", 500, None, "server-error"),
    ("random", None, None, "?no_reply"),
    ("malformed-space", 400, None, "holds"),
    ("malformed-long", 431, None, "holds"),
    ("malformed-empty", 401, "Bearer", "holds"),
    ("malformed-space", 403, None, "not-401"),
    ("case", 401, INVALID, "holds"),
    ("case", 200, None, "bad-token-accepted"),
    ("issued-case", 200, None, "?vacuous"),
    ("issued-shortened", 401, None, "?vacuous"),
])
def test_bad_tokens(kind, status, challenge, word):
    assert judged(bad_tokens_refused, reply(f"token:{kind}", status, challenge)) == [word]


def jwt():
    parts = (b'{"alg":"RS256"}', b'{"sub":"desk"}', bytes(range(64)))
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


@pytest.mark.parametrize("token", [jwt(), "k" * 43, "short-key"])
def test_bad_values_are_bad(token):
    for _, change in bad_values(random.Random(7)):
        assert change(token) != token
        assert len(change(token)) >= 8, "a short one would be reported as a secret that cannot be masked"


@pytest.mark.parametrize(("key", "cased", "shortened", "extended"), [
    ("k3yOfTheDesk-full", "K3YoFtHEdESK-FULL", "k3yOfTheDesk-ful", "k3yOfTheDesk-full????????"),
    ("0123456789-0123", "0123456789-0123", "0123456789-012", "0123456789-0123????????"),
    ("c0ffee00-cafe-4bad-8bad-decafbad0000", "c0ffee00-cafe-4bad-8bad-decafbad0000",
     "c0ffee00-cafe-4bad-8bad-decafbad000", "c0ffee00-cafe-4bad-8bad-decafbad0000????????"),
    ("c2VjcmV0LWtleQ==", "C2vJCMv0lwTLEq==", "c2VjcmV0LWtle", "c2VjcmV0LWtleQ????????=="),
])
def test_what_is_nearly_good_is_made_from_what_is_good(key, cased, shortened, extended):
    made = {name: change(key) for name, change in near_values(random.Random(7))}
    assert (made["case"], made["shortened"]) == (cased, shortened)
    assert re.fullmatch(re.escape(extended).replace(re.escape("?"), "[0-9A-Za-z]"), made["extended"])
    assert re.fullmatch("[0-9A-Za-z]{8}" + re.escape(key), made["prefixed"])


def test_a_web_token_is_changed_where_it_counts():
    changed = {name: change(jwt()) for name, change in bad_values(random.Random(7))}
    header, payload, signature = changed["unsigned"].split(".")
    assert base64.urlsafe_b64decode(header + "==") == b'{"alg":"none","typ":"JWT"}'
    assert (payload, signature) == (jwt().split(".")[1], "")
    flipped = changed["flipped"].split(".")
    assert flipped[:2] == jwt().split(".")[:2]
    assert flipped[2][-8:] == jwt()[-8:]


def test_a_read_for_any_caller_has_no_account():
    assert for_any_caller(TARGET) == "list_accounts"


# --- AUT-012


def seen(one):
    return said(no_secret_in_url.traffic(one, TARGET, {}))


@pytest.mark.parametrize(("one", "words"), [
    (exchange("query-token", 401, PROBLEM), ["holds"]),
    (exchange("query-token", 200, {}), ["query-token-accepted"]),
    (exchange("query-token", None), ["?no_reply"]),
    (exchange("x", 404, PROBLEM), ["holds"]),
    (exchange("x", 404, f'{{"detail": "no token {TOKEN}"}}'.encode()), ["secret-in-reply"]),
    (exchange("x", 422, '{"errors": {"password": "⟨redacted.password⟩"}}'.encode()), ["holds"]),
    (exchange("x", 201, {}, fields={"Location": "/v1/orders/1"}), ["holds"]),
    (exchange("x", 201, {}, fields={"Location": f"/v1/orders/1?access_token={TOKEN}"}), ["secret-in-reply"]),
    (exchange("x", 200, {}, fields={"Link": f"</v1?t={TOKEN}>; rel=next"}), ["secret-in-reply"]),
    (exchange("x", 200, {"access_token": TOKEN}), []),
    (exchange("x", 200, {}, origin="har", url=f"https://a.test/v1?apikey={TOKEN}"), ["secret-in-url"]),
    (exchange("x", 200, {}, url=f"https://a.test/v1?apikey={TOKEN}"), []),
    (exchange("x", 401, PROBLEM, origin="har", url=f"https://a.test/v1?apikey={TOKEN}"), ["holds"]),
])
def test_secrets_in_urls_and_replies(one, words):
    assert seen(one) == words


@pytest.mark.parametrize(("anonymous", "word"), [
    (401, "query-token-accepted"), (400, "query-token-accepted"), (200, "?precondition"), (429, "?precondition"),
    (503, "?precondition"), (None, "query-token-accepted")])
def test_a_credential_in_the_query_is_worth_what_the_request_without_any_was(anonymous, word):
    memory = {}
    first = exchange("anonymous:query", anonymous, PROBLEM if anonymous else None)
    list(no_secret_in_url.traffic(first, TARGET, memory))
    for name, seen_of in (("list_positions", word), ("list_orders", "query-token-accepted")):
        probe = exchange("query-token:key", 200, {}, operation=name, url=f"https://a.test/v1?key={TOKEN}")
        assert said(no_secret_in_url.traffic(probe, TARGET, memory)) == [seen_of]


@pytest.mark.parametrize(("step", "names"), [
    ({"kind": "oauth2", "operation": "issue_token"}, ("access_token", "token")),
    ({"kind": "basic"}, ()),
    ({"kind": "static"}, ("access_token", "token", "key", "api_key", "apikey")),
    ({"kind": "static", "header": "X-Api-Key"}, ("X-Api-Key", "x-api-key", "api-key", "api_key", "key", "apikey")),
    ({"kind": "static", "header": "X-Desk-Key"},
     ("X-Desk-Key", "x-desk-key", "desk-key", "desk_key", "key", "api_key", "apikey")),
    ({"kind": "static", "header": "apikey"}, ("apikey", "key", "api_key")),
])
def test_the_names_by_which_a_credential_is_tried_in_the_query(step, names):
    assert query_names(Step(secret="env:KEY", **step)) == names


@pytest.mark.parametrize(("url", "where"), [
    ("https://a.test/v1?limit=5", None),
    (f"https://a.test/v1?apikey={TOKEN}", "the parameter apikey"),
    (f"https://a.test/{TOKEN}/v1", "its path"),
    ("https://⟨redacted.userinfo⟩@a.test/v1", "its netloc"),
    (f"https://a.test/export?X-Amz-Signature={TOKEN}", None),
    (f"wss://a.test/stream?ticket={TOKEN}", None),
])
def test_where_a_url_holds_a_secret(url, where):
    assert secret_in_url(url) == where
