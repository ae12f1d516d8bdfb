"""Every spelling of a secret is masked; what is not secret stays as it was."""

import base64
import json
import random
import string
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from spelled import ALL, ESCAPES, MASK, NUMBERED, SECRET, Escape, redactor

from openbell.redact import PLACEHOLDER, Leak, Redactor, contains_placeholder


@pytest.mark.parametrize("outer", ["plain", *ESCAPES])
@pytest.mark.parametrize("inner", ["plain", *ESCAPES, *NUMBERED])
def test_escaped_twice(inner: str, outer: str) -> None:
    def written(text: str) -> str:
        for name in (inner, outer):
            text = ALL[name](text)
        return text

    assert redactor().text(written(f"a {SECRET}, b")) == written("a ") + MASK + written(", b")


@pytest.mark.parametrize("escape", ["plain", "json", "json-utf8", "json-slash", "quote", "quote-lower", "html", "repr"])
@pytest.mark.parametrize("before", range(4))
@pytest.mark.parametrize("alphabet", [base64.b64encode, base64.urlsafe_b64encode])
def test_base64_at_every_alignment(alphabet: Callable[[bytes], bytes], before: int, escape: str) -> None:
    content = (ALL[escape](SECRET)).encode()
    after = 3 + -(before + len(content)) % 3
    left, right = redactor().text(alphabet(b"x" * before + content + b"y" * after).decode()).split(MASK)
    assert len(left) == before * 8 // 6
    assert len(right) == after * 8 // 6


@pytest.mark.parametrize("text", [SECRET, quote(SECRET), quote_plus(SECRET)])
def test_hex_in_both_cases(text: str) -> None:
    content = text.encode().hex()
    assert redactor().text(f"00{content}ff") == f"00{MASK}ff"
    assert redactor().text(f"00{content.upper()}FF") == f"00{MASK}FF"


def test_base64_inside_a_url() -> None:
    content = base64.b64encode(b"??>??>??>").decode()
    assert content == "Pz8+Pz8+Pz8+"
    for written in (quote(content, safe=""), quote(quote(content, safe=""), safe="")):
        assert redactor("??>??>??>").url(f"https://host/p?v={written}") == f"https://host/p?v={MASK}"


def test_basic_credentials_that_were_url_encoded_first() -> None:
    content = base64.b64encode(f"id:{quote_plus(SECRET)}".encode())
    ((_, value),) = redactor().headers(((b"Authorization", b"Basic " + content),))
    assert value.startswith(b"Basic aWQ6" + MASK.encode())


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_bytes_in_two_encodings(encoding: str) -> None:
    assert redactor().data(b"\xff\x00" + SECRET.encode(encoding) + b"\xfe") == b"\xff\x00" + MASK.encode() + b"\xfe"


def test_utf8_that_was_taken_for_latin1() -> None:
    mistaken = SECRET.encode().decode("latin-1")
    assert redactor().text(mistaken) == redactor().text(json.dumps(mistaken)[1:-1]) == MASK


def test_case_folded_copies() -> None:
    assert redactor("Token-AbCdEf").text("x-token-abcdef: TOKEN-ABCDEF") == f"x-{MASK}: {MASK}"


def test_a_plus_that_a_form_turned_into_a_space() -> None:
    assert redactor().text(SECRET.replace("+", " ")) == MASK


@pytest.mark.parametrize(
    "secret", ["%5C%255c-&#92;x", "&amp;amp;&%25%", "\\\\n\\u0022\\", "''\"\"''\"\"", "ÄÖÜẞ😀😀😀é"]
)
@pytest.mark.parametrize("escape", ALL)
def test_secrets_that_look_like_escapes(secret: str, escape: str) -> None:
    text = ALL[escape](secret)
    assert redactor(secret).text(f"[{text}]") == f"[{MASK}]"


def test_a_secret_of_a_megabyte() -> None:
    secret = "".join(random.Random(7).choices(string.ascii_letters + string.digits + "-_", k=1_000_000))
    made = redactor(secret)
    assert made.text(f'{{"t": "{secret}"}}') == f'{{"t": "{MASK}"}}'
    assert secret[400_000:403_000] not in made.text(secret[399_000:404_000])


SECRETS = st.one_of(
    st.text(min_size=8, max_size=24),
    st.text(string.printable, min_size=8, max_size=24),
    st.text("\"'\\/%&+= ;#x25amp", min_size=8, max_size=24),
    st.text(string.ascii_letters + string.digits + "-_.", min_size=8, max_size=80),
).filter(lambda secret: not secret.endswith("\\"))  # whose last backslash, nobody can say
AROUND = st.text(" ,:{}[]é☃", max_size=6)
OUTER = st.lists(st.sampled_from(list(ESCAPES.values())), max_size=2)
CHAIN = OUTER | st.tuples(st.sampled_from(list(NUMBERED.values())), st.sampled_from(list(ESCAPES.values()))).map(list)


def through(text: str, chain: list[Escape]) -> str:
    for escape in chain:
        text = escape(text)
    return text


@given(secret=SECRETS, before=AROUND, after=AROUND, chain=CHAIN)
@example(secret='"quoted\\"', before="", after="", chain=[ESCAPES["json"]] * 4)
@settings(deadline=None)
def test_nested_escapes_leak_nothing(secret: str, before: str, after: str, chain: list[Escape]) -> None:
    made = redactor(secret)
    written = through(f"{before}|{secret}|{after}", chain)
    with pytest.raises(Leak):
        made.gate(written.encode())
    masked = made.text(written)
    assert masked == through(f"{before}|", chain) + MASK + through(f"|{after}", chain)
    made.gate(masked.encode())


@given(
    secret=SECRETS,
    before=st.binary(max_size=6),
    after=st.binary(max_size=6),
    inner=st.lists(
        st.sampled_from([ESCAPES[name] for name in ("json", "json-utf8", "quote", "quote-plus", "html")]), max_size=2
    ),
    outer=OUTER,
    url_alphabet=st.booleans(),
)
@settings(deadline=None)
def test_base64_between_escapes_leaks_nothing(
    secret: str, before: bytes, after: bytes, inner: list[Escape], outer: list[Escape], url_alphabet: bool
) -> None:
    made = redactor(secret)
    encode = base64.urlsafe_b64encode if url_alphabet else base64.b64encode
    digits = encode(before + through(secret, inner).encode() + after).decode()
    written = through(f"[{digits.rstrip('=')}]", outer)
    masked = made.text(written)
    left, right = masked.split(MASK)
    kept = through("[" + digits[: len(before) * 8 // 6], outer)
    assert len(left) <= len(kept)
    assert len(right) <= len(
        through(digits[-(-(len(before) + len(through(secret, inner).encode())) * 8 // 6) :] + "]", outer)
    )
    made.gate(masked.encode())


def test_placeholders_are_stable_and_counted() -> None:
    made = Redactor()
    assert made.learn("first-token", "full", "token") == "⟨full.token#1⟩"
    assert made.learn("second-token", "full", "token") == "⟨full.token#2⟩"
    assert made.learn("other-secret", "full", "secret") == "⟨full.secret#1⟩"
    assert made.learn("third-token", "read only", "token") == "⟨read-only.token#1⟩"
    assert made.learn("first-token", "other", "cookie") == "⟨full.token#1⟩"
    assert made.text("second-token first-token") == "⟨full.token#2⟩ ⟨full.token#1⟩"


def test_masking_again_changes_nothing() -> None:
    made = Redactor()
    made.learn("redacted", "full", "secret")
    made.learn("full.secret#1", "odd", "secret")
    once = made.headers(((b"Authorization", b"Bearer unknown"), (b"x", b"redacted full.secret#1")))
    assert made.headers(once) == once
    made.gate(b" ".join(value for _, value in once))


def test_a_forged_placeholder_hides_nothing() -> None:
    made = redactor()
    for forged in (f"⟨{SECRET}⟩", f"⟨redacted.{SECRET}⟩"):
        assert SECRET not in made.text(forged)
    ((_, value),) = made.headers(((b"Authorization", "Bearer ⟨full.secret#9⟩".encode()),))
    assert value == "Bearer ⟨redacted.authorization⟩".encode()


def test_the_longest_of_overlapping_secrets_names_the_place() -> None:
    made = Redactor()
    made.learn("12345678", "a", "secret")
    made.learn("0123456789", "b", "secret")
    assert made.text("0123456789 12345678") == "⟨b.secret#1⟩ ⟨a.secret#1⟩"
    made.learn("6789abcd", "c", "secret")
    assert made.text("0123456789abcd") == "⟨b.secret#1⟩"


def test_short_secrets_are_masked_by_field_alone() -> None:
    made = Redactor()
    made.learn("1234567", "full", "pin")
    assert made.short == ("full.pin",)
    assert made.text("1234567") == "1234567"
    assert made.text('{"password": "1234567"}') == '{"password": "⟨redacted.password⟩"}'
    assert made.url("http://host/?api_key=1234567") == "http://host/?api_key=⟨redacted.api_key⟩"
    made.gate(b"1234567")


def test_nothing_is_learnt_from_nothing() -> None:
    made = Redactor()
    made.learn("", "full", "secret")
    assert made.text("anything") == "anything"


@pytest.mark.parametrize(
    ("name", "value", "masked"),
    [
        ("Authorization", "Bearer abc", "Bearer ⟨redacted.authorization⟩"),
        ("authorization", "abc def", "⟨redacted.authorization⟩"),
        ("Authorization", f"Bearer {SECRET}", f"Bearer {MASK}"),
        ("X-API-Key", "k", "⟨redacted.x-api-key⟩"),
        ("CB-ACCESS-KEY", "k", "⟨redacted.cb-access-key⟩"),
        ("X-MBX-APIKEY", "k", "⟨redacted.x-mbx-apikey⟩"),
        ("X-Auth-Token", "t", "⟨redacted.x-auth-token⟩"),
        ("X-Signature", "s", "⟨redacted.x-signature⟩"),
        ("Cookie", "a=1; b=2", "a=⟨redacted.cookie⟩; b=⟨redacted.cookie⟩"),
        ("Cookie", f"a={SECRET}; b=2", f"a={MASK}; b=⟨redacted.cookie⟩"),
        ("Set-Cookie", "sid=1; Path=/; HttpOnly", "sid=⟨redacted.set-cookie⟩; Path=/; HttpOnly"),
        ("Idempotency-Key", "k-1", "k-1"),
        ("X-Next-Page-Token", "cursor", "cursor"),
        ("X-Request-Id", f"id {SECRET}", f"id {MASK}"),
        ("Authorization", "", ""),
    ],
)
def test_headers(name: str, value: str, masked: str) -> None:
    assert redactor().headers(((name.encode(), value.encode()),)) == ((name.encode(), masked.encode()),)


def test_a_header_whose_name_is_a_secret() -> None:
    assert redactor("hidden-name").headers(((b"Hidden-Name", b"v"),)) == ((MASK.encode(), b"v"),)


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        (f"https://h/p/{quote(SECRET, safe='')}/q?x=1", f"https://h/p/{MASK}/q?x=1"),
        ("https://u:p@h/p", "https://⟨redacted.userinfo⟩@h/p"),
        ("/p?Access_Token=abc&x=1", "/p?Access_Token=⟨redacted.access_token⟩&x=1"),
        ("/p#access_token=abc&x=1", "/p#access_token=⟨redacted.access_token⟩&x=1"),
        (f"/p?access_token={quote(SECRET)}", f"/p?access_token={MASK}"),
        ("/p?X-Amz-Signature=abc", "/p?X-Amz-Signature=⟨redacted.x-amz-signature⟩"),
        ("/p?token=USDC&page_token=abcdefghijklmnopqrst", "/p?token=USDC&page_token=abcdefghijklmnopqrst"),
        ("/p?token=abcdefghijklmnop", "/p?token=⟨redacted.token⟩"),
        ("/p?client%5Fsecret=abc", "/p?client%5Fsecret=⟨redacted.secret⟩"),
    ],
)
def test_urls(url: str, masked: str) -> None:
    made = redactor()
    assert made.url(url) == masked
    assert made.url(masked) == masked


@pytest.mark.parametrize(
    ("content", "masked"),
    [
        ('{"accessToken" : "a\\"b\\\\", "n": 1}', '{"accessToken" : "⟨redacted.accesstoken⟩", "n": 1}'),
        ('"{\\"secret\\": \\"a\\\\\\"b\\", \\"n\\": 1}"', '"{\\"secret\\": \\"⟨redacted.secret⟩\\", \\"n\\": 1}"'),
        ("{'password': 'a'}", "{'password': '⟨redacted.password⟩'}"),
        ('{"secret": 12, "n": 1}', '{"secret": "⟨redacted.secret⟩", "n": 1}'),
        ("grant=x&client_secret=abc&n=1", "grant=x&client_secret=⟨redacted.secret⟩&n=1"),
        ('{"password": "cut of', '{"password": "⟨redacted.password⟩'),
        ('{"next_page_token": "abc", "token": "USDC"}', '{"next_page_token": "abc", "token": "USDC"}'),
        ('{"secret": null, "password": ""}', '{"secret": null, "password": ""}'),
    ],
)
def test_members(content: str, masked: str) -> None:
    made = redactor()
    assert made.text(content) == masked
    assert made.text(masked) == masked


def test_the_gate_names_the_secret_and_does_not_show_it() -> None:
    made = redactor()
    made.gate(b'{"password": "unknown", "x": "' + MASK.encode() + b'"}')
    with pytest.raises(Leak, match=r"full\.secret#1") as caught:
        made.gate(json.dumps({"content": json.dumps({"x": SECRET})}).encode())
    assert SECRET not in str(caught.value)


def test_contains_placeholder() -> None:
    assert contains_placeholder(f"https://h/?x={MASK}")
    assert contains_placeholder("⟨redacted.x-api-key⟩")
    assert not contains_placeholder("⟨⟩ <full.secret#1> ⟨full⟩")
    found = PLACEHOLDER.search("⟨read.only.token#12⟩")
    assert found is not None
    assert found.groupdict() == {"owner": "read.only", "kind": "token", "number": "12"}


def test_foreign_learns_headers_cookies_and_parameters() -> None:
    made = Redactor()
    made.foreign(
        headers=(
            (b"AUTHORIZATION", b"Bearer bearer-value"),
            (b"x-Api-KEY", b"key-value"),
            (b"Cookie", b"a=cookie-one; b=cookie-two"),
        ),
        url="https://user:pass-word@h/?Api_Key=parameter%2Dvalue&q=harmless-one",
    )
    made.foreign(headers=((b"set-cookie", b"s=cookie-three; Path=/path-of-it"),))
    for value in (
        "bearer-value",
        "key-value",
        "cookie-one",
        "cookie-two",
        "cookie-three",
        "parameter-value",
        "pass-word",
    ):
        assert made.text(f'{{"copy": "{value}"}}') != f'{{"copy": "{value}"}}', value
    assert made.text("harmless-one /path-of-it") == "harmless-one /path-of-it"


def test_foreign_opens_basic_credentials() -> None:
    made = Redactor()
    made.foreign(headers=((b"authorization", b"Basic " + base64.b64encode(b"name:opened-sesame")),))
    assert made.text("opened-sesame") == "⟨foreign.authorization#2⟩"
    assert "b3BlbmVkLXNlc2FtZQ" not in made.text(base64.b64encode(b"name:opened-sesame").decode())


@pytest.mark.parametrize(
    "content",
    [
        b'{"a": [{"PassWord": "hidden-value"}]}',
        b'{"outer": "{\\"sessionId\\": \\"hidden-value\\"}"}',
        b"x=1&Client_Secret=hidden%2Dvalue",
        b'{"Token": ["first", "hidden-value"]}',
        b'payload={"jwt":"hidden-value"}',
    ],
)
def test_foreign_learns_members(content: bytes) -> None:
    made = Redactor()
    made.foreign(content=content)
    assert b"hidden-value" not in made.data(content)
    assert "hidden-value" not in made.text("elsewhere hidden-value")


def test_foreign_masks_short_values_by_name() -> None:
    made = Redactor()
    made.foreign(content=b'{"Otp": "123456", "next_page_token": "page-token-2"}')
    assert made.text('{"OTP": "123456", "n": "123456"}') == '{"OTP": "⟨redacted.otp⟩", "n": "123456"}'
    assert made.text("page-token-2") == "page-token-2"


@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b'{"a": NaN', b"\xff\xfe=\x00", b"", b"=&=&", b'{"secret": "\\ud800 lone surrogate"}']
)
def test_foreign_survives_hostile_bodies(content: bytes) -> None:
    made = Redactor()
    made.foreign(
        content=content,
        headers=((b"authorization", b"Basic !!"), (b"cookie", b";;=;"), (b"\xff", b"\xff")),
        url="//@?=&",
    )
    assert isinstance(made.data(content), bytes)


@pytest.mark.parametrize(
    "unit", [b"\\", b"%25", b"%5c", b"&amp;", b"&", b'"', b'"secret":"', b"secret=", b"' ", b"u005c"]
)
def test_hostile_texts_stay_as_they_are(unit: bytes) -> None:
    made = redactor('"\\%&\'+ /\\"%x')
    content = unit * (30_000 // len(unit))
    assert len(made.data(content)) > 0
    made.gate(made.data(content))
