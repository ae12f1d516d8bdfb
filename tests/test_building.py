"""From an operation to a request."""

import pytest
from serving import PROFILE, openbell

from openbell.building import Alter, build
from openbell.loading import parse


@pytest.mark.parametrize(("given", "wanted"), [
    ("?from=b", "https://api.test/v1/a/1/orders?from=b"), ("orders?from=b", "https://api.test/v1/a/1/orders?from=b"),
    ("/v1/more?x=1", "https://api.test/v1/more?x=1"), ("https://api.test/other", "https://api.test/other")])
def test_a_relative_link_is_resolved_against_the_url_of_the_page_that_gave_it(given, wanted):
    target = parse({
        "target": {"name": "t", "base_url": "https://api.test/v1", "control": "orders"},
        "credential": {"full": {"values": {"account": "1"}}},
        "operation": {"orders": {"role": "list", "method": "GET", "path": "/a/{account}/orders",
                                 "query": {"state": "open"}}},
    }, "made up")
    request = build(target, target.operation["orders"], {"account": "1"}, {"size": "5"}, Alter(url=given))
    assert request.url == wanted


def test_a_control_that_could_not_be_built_says_why(tmp_path):
    text = PROFILE.read_text().replace('values = { account = "acct-full", symbol = "AAPL" }', "", 1)
    (path := tmp_path / "p.toml").write_text(text)
    done = openbell("check", path, "--out", "out", cwd=tmp_path)
    assert done.returncode == 2
    assert "it could not be run: no value for {account}" in " ".join(done.stdout.split())
