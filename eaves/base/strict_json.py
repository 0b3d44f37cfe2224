"""JSON as RFC 8259 has it and nothing else, within bounds of memory."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

MAX_JSON_VALUES = 250_000
"""In one JSON text. 20 MB of `[],[],[]` would take 400 MB once parsed; base64 of any size is one value."""

WIDE_FROM, MAX_WIDE = 1_000_000, 1_000_000
"""Bytes of JSON from which, and so many bytes beyond ASCII up to which, it is made ASCII before it is parsed."""


def parse_json(text: bytes | str, *, max_values: int | None = MAX_JSON_VALUES) -> Any:
    """JSON as RFC 8259 has it.

    Args:
        text: The JSON text; bytes are UTF-8.
        max_values: Most values that it may hold. None: its caller bounds its size, and what isn't ASCII in it is left
            as it is (see `narrow`).

    Raises:
        ValueError: For anything else, NaN, nesting without end, a name twice in one object and too many values too.
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
    """JSON with escapes for what is beyond ASCII, where it is large.

    A Python text takes as much for each letter as for the widest: one emoji beside 20 MB of base64 made them 80 MB.

    Raises:
        ValueError: When most of it isn't ASCII, which is better sent as `data_base64`; when it is not UTF-8.
    """
    if len(text) < WIDE_FROM or text.isascii():
        return text
    if len(text) - len(text.translate(None, bytes(range(0x80, 0x100)))) > MAX_WIDE:
        raise ValueError(f"more than {MAX_WIDE} bytes beyond ASCII")
    if _ESCAPED.search(text):
        raise ValueError("a backslash before a letter that needs none")  # which an escape would make a good one
    return _BEYOND_ASCII.sub(lambda found: json.dumps(found[0].decode())[1:-1].encode(), text)


def render_json(value: Any) -> bytes:
    """A value as JSON.

    Raises:
        ValueError: When it holds NaN, or is nested without end.
    """
    try:
        return json.dumps(value, allow_nan=False).encode()
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _build_object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names are unique; of others, receivers take the first or the last (RFC 8259, section 4)."""
    values = dict(members)
    if len(values) < len(members):
        names = {name: number for number, (name, _) in enumerate(members)}
        twice = next(name for number, (name, _) in enumerate(members) if names[name] != number)
        raise ValueError(f"a name is there twice in one object: {twice[:80]!r}")
    return values


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")
