"""Problem documents: errors as bodies of HTTP responses. Every Eaves server writes them, and every client reads them.

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
"""Maximum size of a document, bytes. A broker keeps 1,024 bytes of a failed response as base64 in `knativeerrordata`;
700 bytes fit."""
_TEXTS = {"detail": 20, "hint": 0, "error": 20}
"""Members that may hold foreign text of any length, in the order in which they are truncated, with their minimum
characters."""
REVISION = "revision"
"""Member that names the revision of a function that wrote the document. It is the first one, so that a text that holds
only the beginning of a document holds it."""
COUNTED_HEADER, REVISION_HEADER = "Eaves-Counted", "Eaves-Revision"
"""Header of a request whose sender counts the outcomes of its requests durably, by the revision that the function then
names in the other header. The function leaves such requests to the sender, so each is counted once for a rollout."""
_DETAIL = re.compile(r'"detail":\s*"((?:[^"\\]|\\.)*)')
"""Pattern of the field `detail` in a problem document (RFC 9457), which may be cut off within the field."""


def build_problem(
    status: int,
    detail: str,
    hint: str | None = None,
    *,
    kind: str = "",
    protocol_error: bool = False,
    revision: str = "",
) -> bytes:
    """Build a problem document of at most `MAX_BYTES`; its texts are truncated until it fits.

    Args:
        status: HTTP status.
        detail: What is wrong.
        hint: What helps; without one the document has no such member.
        kind: Last part of the document's `type`; empty: `http-STATUS`.
        protocol_error: Whether to add `error`, the only member that the Open Inference Protocol requires.
        revision: Revision of the function that writes the document; empty: the document has no such member.
    """
    kind = kind or f"http-{status}"
    document: dict[str, Any] = {REVISION: revision} if revision else {}
    document |= {"type": TYPE_PREFIX + kind, "title": kind.replace("-", " "), "status": status}
    document["detail"] = detail[:MAX_BYTES]  # a bound for speed: a message may hold a whole body
    if protocol_error:
        document["error"] = detail[:200]
    if hint:
        document["hint"] = hint[:MAX_BYTES]
    for name, kept in _TEXTS.items():
        _shorten(document, name, kept)
    return json.dumps(document).encode()


def revision_mark(revision: str) -> str:
    """Return the text that every problem document of a revision holds, and so the reason of each of its refusals."""
    return json.dumps({REVISION: revision})[1:-1]


def error_type(cls: type[EavesError]) -> str:
    """Return the last part of a problem document's `type` for a class of errors.

    A class that a handler.py defines has the type of its base class.
    """
    name = next(one.__name__ for one in cls.__mro__ if one.__module__ == EavesError.__module__)
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name.removesuffix("Error")).lower()


def parse_problem(body: bytes | str) -> Mapping[str, Any]:
    """Parse the members of a problem document; empty for other bodies. The members' types are unchecked."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):  # for example truncated after 1,024 bytes
        return {}
    return document if isinstance(document, dict) else {}


def find_kind(document: Mapping[str, Any]) -> str:
    """Return the last part of the `type` of an Eaves problem document; empty for any other document."""
    kind = str(document.get("type", ""))
    return kind.removeprefix(TYPE_PREFIX) if kind.startswith(TYPE_PREFIX) else ""


def describe_reason(text: str) -> str:
    """Return a reason with the JSON of a problem document in it replaced by the document's detail.

    A reason holds the beginning of a receiver's answer, so the document may be cut off. Source: RFC 9457.
    """
    before, _, after = text.partition("{")
    found = _DETAIL.search(after)
    return text if found is None else f"{before}{_unescape(found[1])}"


def _shorten(document: dict[str, Any], name: str, kept: int) -> None:
    """Truncate one text until the document as JSON fits into `MAX_BYTES`, or `kept` characters are left."""
    text = str(document.get(name, ""))
    while len(text) > kept and (excess := len(json.dumps(document)) - MAX_BYTES) > 0:
        # One character takes up to 12 bytes: an escaped surrogate pair.
        text = text[: max(kept, len(text) - max(1, excess // 12))]
        document[name] = text + "..."


def _unescape(text: str) -> str:
    """Decode the escape sequences of a JSON string that may end within an escape sequence."""
    for end in range(len(text), max(-1, len(text) - 7), -1):
        try:
            return str(json.loads(f'"{text[:end]}"'))
        except ValueError:
            continue
    return text
