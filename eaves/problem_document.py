"""Problem documents: an error as the body of an HTTP answer. Every server of ours writes them, every client reads them.

Source: RFC 9457.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from eaves.errors import EavesError

CONTENT_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:eaves:problem:"
MAX_BYTES = 700
"""A broker keeps 1,024 bytes of a failed answer as base64 in `knativeerrordata`; 700 bytes fit."""
_TEXTS = {"detail": 20, "hint": 0, "error": 20}
"""Members that may hold foreign text of any length, in the order in which they are cut, and what is left at least."""


def build_problem(
    status: int, detail: str, hint: str | None = None, *, kind: str = "", protocol_error: bool = False
) -> bytes:
    """A document of at most `MAX_BYTES`; its texts are cut until it fits.

    Args:
        status: HTTP status.
        detail: What is wrong.
        hint: What helps; without one the document has no such member.
        kind: Last part of its `type`; `http-STATUS` when it is empty.
        protocol_error: Whether it has `error` too, the one member that the Open Inference Protocol asks for.
    """
    kind = kind or f"http-{status}"
    document: dict[str, Any] = {"type": TYPE_PREFIX + kind, "title": kind.replace("-", " "), "status": status}
    document["detail"] = detail[:MAX_BYTES]  # by far the longest that may fit: a message may hold a whole body
    if protocol_error:
        document["error"] = detail[:200]
    if hint:
        document["hint"] = hint[:MAX_BYTES]
    for name, kept in _TEXTS.items():
        _shorten(document, name, kept)
    return json.dumps(document).encode()


def error_type(cls: type[EavesError]) -> str:
    """The last part of a problem's `type`; a class that a handler.py derives has that of ours."""
    name = next(one.__name__ for one in cls.__mro__ if one.__module__ == EavesError.__module__)
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name.removesuffix("Error")).lower()


def parse_problem(body: bytes | str) -> Mapping[str, Any]:
    """The members of a problem document; empty when the body is no JSON object. No member's type is checked."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):  # cut after 1,024 bytes, say
        return {}
    return document if isinstance(document, dict) else {}


def find_kind(document: Mapping[str, Any]) -> str:
    """The last part of the `type` of a document of ours; empty for any other."""
    kind = str(document.get("type", ""))
    return kind.removeprefix(TYPE_PREFIX) if kind.startswith(TYPE_PREFIX) else ""


def _shorten(document: dict[str, Any], name: str, kept: int) -> None:
    """Cut one text of the document until the whole fits, in bytes as sent, or `kept` characters are left."""
    text = str(document.get(name, ""))
    while len(text) > kept and (excess := len(json.dumps(document)) - MAX_BYTES) > 0:
        # One character takes up to 12 bytes: an escaped surrogate pair.
        text = text[: max(kept, len(text) - max(1, excess // 12))]
        document[name] = text + "..."
