import json

import pytest

from openbell.documents import DEEPEST, MOST_VALUES, Unusable, base_of, bearing, document_of

HEAD = {"openapi": "3.1.0", "info": {"title": "t", "version": "1"}, "paths": {}}
BOMB = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))


@pytest.mark.parametrize(("text", "why"), [
    ("", "NoneType"), ("[]", "list"), ("{", "neither JSON nor YAML"), ("a: [", "neither JSON nor YAML"),
    ("{}", "no OpenAPI document"), ("openapi: 3.1.0\n" + BOMB, "aliases"), ("openapi: &a\n  b: *a\n", "holds itself"),
    (json.dumps({**HEAD, "x": list(range(MOST_VALUES + 1))}), "values"), ("<html>404</html>", "str"),
    ("a: !!python/object/apply:os.getcwd []", "neither JSON nor YAML"),
], ids=["empty", "list", "cut", "yaml", "object", "bomb", "self", "many", "page", "python"])
def test_an_unusable_document_is_told_in_words(text, why):
    with pytest.raises(Unusable, match=why):
        document_of(text)


@pytest.mark.parametrize("depth", [DEEPEST + 2, 100_000])
def test_a_deep_document_is_told_in_words(depth):
    with pytest.raises(Unusable):
        document_of('{"openapi": ' + "[" * depth + "]" * depth + "}")


def test_json_and_yaml_give_the_same():
    yaml = "openapi: 3.1.0\ninfo: {title: t, version: '1'}\npaths: {}\n"
    assert document_of(yaml) == document_of(json.dumps(HEAD)) == HEAD


def test_the_keys_and_dates_of_yaml_stay_text():
    found = document_of("openapi: 3.0.0\nresponses:\n  200: {day: 2026-11-26}\n  default: {}\n")
    assert found["responses"] == {"200": {"day": "2026-11-26"}, "default": {}}


def test_references_may_be_circular():
    node = {"properties": {"next": {"$ref": "#/components/schemas/Node"}}}
    circular = {**HEAD, "components": {"schemas": {"Node": node}}}
    assert document_of(json.dumps(circular)) == circular


def test_bearer_tokens_are_known_as_such_and_the_rest_stays():
    key = {"type": "apiKey", "in": "header", "name": "X-Key"}
    given = {**HEAD, "components": {"securitySchemes": {"o": {"type": "oauth2", "flows": {}}, "k": key}}}
    told = bearing(given)["components"]["securitySchemes"]
    assert told == {"o": {"type": "http", "scheme": "bearer"}, "k": key}
    assert bearing(HEAD) == HEAD


@pytest.mark.parametrize(("document", "base", "full"), [
    ({}, "https://a.test", "https://a.test"), ({"servers": [{"url": "/v1"}]}, "https://a.test", "https://a.test/v1"),
    ({"servers": [{"url": "https://b.test/v1/"}]}, "https://a.test/v1", "https://a.test/v1"),
    ({"basePath": "/v1"}, "https://a.test", "https://a.test/v1"), ({"servers": "x"}, "https://a.test", "https://a.test"),
    ({"servers": [{"url": "/{v}"}]}, "https://a.test", "https://a.test"),
], ids=["none", "path", "same", "swagger", "wrong", "template"])
def test_paths_stand_below_the_server_that_the_document_names(document, base, full):
    assert base_of(document, base) == full
