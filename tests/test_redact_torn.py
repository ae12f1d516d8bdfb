"""What is left of a secret where a message or a content broke off is masked."""

import base64
import random
import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from spelled import ALL, MASK, SECRET, redactor


@pytest.mark.parametrize("escape", ALL)
def test_a_secret_that_breaks_off_is_masked(escape: str) -> None:
    seen = [ALL[escape](char) for char in SECRET]
    for kept in range(8, len(SECRET)):
        before, whole = "".join(seen[: kept - 1]).encode(), "".join(seen[:kept]).encode()
        # Whatever is left of the last character, when that is escaped.
        for cut in range(len(before) + (kept == 8) * (len(whole) - len(before)), len(whole) + 1):
            assert redactor().unfinished(b'{"said": "' + whole[:cut]) == b'{"said": "' + MASK.encode(), whole[:cut]


def test_what_does_not_break_off_within_a_secret_stays() -> None:
    secret = "canary-5f1e9c7a-secret"
    for text in ("", "said: canary-", "canary-5f1e9 and more", "canary-5f1e\n", "anary-5f1e", "canary-5?1e"):
        assert redactor(secret).unfinished(text.encode()) == text.encode()
        assert redactor().unfinished(text.encode()) == text.encode()


@pytest.mark.parametrize(("text", "masked"), [
    ("canary-5", ""),
    ("CANARY-5F1e", ""),
    ("canary-5 canary-5f1e9c7a-sec", "canary-5 "),
    ("canary-5canary-5f1e9c7a-secre", "canary-5"),
    (f"said {MASK} canary-5f1e", f"said {MASK} "),
    ("x" * 40_000 + "canary-5f1e", "x" * 40_000),
    ("canary-5f1e9c7a-secret, canary-5", f"{MASK}, "),
])
def test_only_the_end_of_what_broke_off_is_masked(text: str, masked: str) -> None:
    assert redactor("canary-5f1e9c7a-secret").unfinished(text.encode()).decode() == masked + MASK


@given(st.text(min_size=8, max_size=40), st.integers(8, 39), st.sampled_from(sorted(ALL)))
@example("a" * 40, 20, "plain")
@example("\\" * 20, 8, "json")
@example(r"\\+|[^\\]", 8, "plain")
@example("\u00ba\u00f2n\u00db\u00e4" * 8, 38, "json-utf8")  # read in three ways each, and torn: took minutes
def test_no_beginning_survives(secret: str, kept: int, escape: str) -> None:
    made, spelled = redactor(secret), "".join(map(ALL[escape], secret[:kept]))
    masked = made.unfinished(("[" + spelled).encode("utf-8", "surrogatepass"))
    assert masked == ("[" + MASK).encode()


@pytest.mark.parametrize("before", ["", "a", "ab", "user:"])
def test_a_secret_that_breaks_off_in_base64_is_masked(before: str) -> None:
    written = base64.b64encode((before + SECRET).encode())
    for cut in range(len(written) - 4, len(written) - 1):
        left = redactor().unfinished(written[:cut]).removesuffix(MASK.encode())
        assert written.startswith(left)
        assert 6 * len(left) <= 8 * len(before), "no digit that holds a bit of the secret"


def test_a_long_secret_breaks_off_in_any_of_its_pieces() -> None:
    made = random.Random(5)
    secret = "".join(made.choices(string.ascii_letters, k=5000))
    for cut in (8, 500, 1023, 1100, 4000, 4999):
        assert secret[:8].encode() not in (masked := redactor(secret).unfinished(secret[:cut].encode()))
        assert secret[cut - 8 : cut].encode() not in masked, cut


def test_a_text_that_repeats_a_beginning_is_left() -> None:
    text = (b"a" * 990 + b"b") * 40
    assert redactor("a" * 1000 + "+").unfinished(text) == text


# What is read in two ways each, and torn, would take years.
@pytest.mark.parametrize("unit", ["%", "&", '"', "'", "\\", "%5c", '\\"', "%&", "a%", "&#x5c;"])
@pytest.mark.parametrize("escape", ALL)
def test_a_secret_of_what_escaping_uses_is_sought_in_bounded_time(unit: str, escape: str) -> None:
    made, whole = redactor(unit * 40), ALL[escape](unit * 40).encode()
    assert made.data(whole) == MASK.encode()
    torn = made.unfinished(b"[" + whole[:-1]).decode()
    # No more is left than the rest of the last character's spelling.
    assert torn.startswith("[" + MASK)
    assert unit * 2 not in torn
