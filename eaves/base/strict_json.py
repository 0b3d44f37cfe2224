"""Strict JSON parser as RFC 8259 defines it, with bounded memory use."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

MAX_JSON_VALUES = 250_000
"""Maximum number of values in one JSON text. 20 MB of `[],[],[]` would take 400 MB when parsed; base64 of any size is
one value."""

WIDE_FROM, MAX_WIDE = 1_000_000, 1_000_000
"""Size in bytes from which a JSON text is converted to ASCII before it is parsed, and the maximum number of non-ASCII
bytes in such a text."""


def parse_json(text: bytes | str, *, max_values: int | None = MAX_JSON_VALUES) -> Any:
    """Parse JSON as RFC 8259 defines it.

    Args:
        text: The JSON text; bytes are UTF-8.
        max_values: Maximum number of values. None sets no limit, for a text whose size the caller has
            limited; such a text is parsed without `narrow`.

    Raises:
        ValueError: When the text is not JSON, holds NaN, a duplicate name or too many values, or is nested too deeply.
    """
    data = text.encode() if isinstance(text, str) else text
    if max_values is not None:
        if sum(data.count(mark) for mark in (b",", b"[", b"{")) > max_values:
            raise ValueError(f"more than {max_values} values")
        data = narrow(data)
    try:
        return json.loads(data, parse_constant=_refuse_constant, object_pairs_hook=_build_object)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


_BEYOND_ASCII = re.compile(rb"[\x80-\xff]+")

_ESCAPED = re.compile(rb"(?<!\\)(?:\\\\)*\\[\x80-\xff]")


def narrow(text: bytes) -> bytes:
    """Return JSON with escapes for characters beyond ASCII when the text is large.

    Every character of a Python string takes as much memory as the widest: one emoji made 20 MB of base64 take 80 MB.

    Raises:
        ValueError: When too many bytes are not ASCII, which are better sent as `data_base64`, or are not UTF-8.
    """
    if len(text) < WIDE_FROM or text.isascii():
        return text
    if len(text) - len(text.translate(None, bytes(range(0x80, 0x100)))) > MAX_WIDE:
        raise ValueError(f"more than {MAX_WIDE} bytes of characters beyond ASCII")
    if _ESCAPED.search(text):
        raise ValueError(
            "invalid escape: a backslash before a character that has no escape in JSON"
        )  # an escape would turn it into a valid one
    return _BEYOND_ASCII.sub(lambda found: json.dumps(found[0].decode())[1:-1].encode(), text)


def render_json(value: Any) -> bytes:
    """Return a value as JSON.

    Raises:
        ValueError: When the value holds NaN, or is nested too deeply.
    """
    try:
        return json.dumps(value, allow_nan=False).encode()
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _build_object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object with unique names; receivers differ on duplicate names (RFC 8259, section 4)."""
    values = dict(members)
    if len(values) < len(members):
        names = {name: number for number, (name, _) in enumerate(members)}
        twice = next(name for number, (name, _) in enumerate(members) if names[name] != number)
        raise ValueError(f"duplicate name in one object: {twice[:80]!r}")
    return values


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")
