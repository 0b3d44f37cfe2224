"""Search for a value in a JSON document by a JSON Pointer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def find_value(document: Any, pointer: str) -> Any:
    """Return the value at a JSON Pointer in a document; None when there is no value.

    Source: RFC 6901, sections 3 and 4.
    """
    for token in pointer.split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        if isinstance(document, Mapping):
            document = document.get(name)
        elif isinstance(document, list) and name.isascii() and name.isdecimal():
            document = document[int(name)] if int(name) < len(document) else None
        else:
            return None
    return document
