"""A secret, the ways in which texts are escaped, and a redactor that knows the secret."""

import html
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus

from openbell.redact import Redactor

SECRET = 'pa"ss/wörd+=%'
MASK = "⟨full.secret#1⟩"

Escape = Callable[[str], str]
ESCAPES: dict[str, Escape] = {
    "json": lambda text: json.dumps(text)[1:-1],
    "json-utf8": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "json-slash": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "json-go": lambda text: (
        json.dumps(text)[1:-1].replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    ),
    "quote": lambda text: quote(text, safe=""),
    "quote-path": lambda text: quote(text, safe="/:=+"),
    "quote-plus": quote_plus,
    "quote-lower": lambda text: "".join(
        char if char.isascii() and char.isalnum() else "".join(f"%{byte:02x}" for byte in char.encode())
        for char in text
    ),
    "html": html.escape,
    "repr": lambda text: repr(text)[1:-1],
}
NUMBERED: dict[str, Escape] = {
    "html-numbers": lambda text: "".join(char if char.isalnum() else f"&#{ord(char)};" for char in text),
    "html-hex": lambda text: "".join(char if char.isalnum() else f"&#x{ord(char):X};" for char in text),
}
ALL: dict[str, Escape] = {"plain": lambda text: text, **ESCAPES, **NUMBERED}


def redactor(secret: str = SECRET) -> Redactor:
    made = Redactor()
    made.learn(secret, "full", "secret")
    return made
