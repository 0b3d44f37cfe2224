r"""Escapes for foreign text that is shown on a terminal.

Labels, file names, reasons and log lines come from models, senders and clusters. A terminal obeys control characters in
them: they move the cursor, change its title or hide text. `escape` makes such characters visible, and all code that
writes text for people uses it. JSON and YAML are data and use their own escapes.
"""

from __future__ import annotations

import re

_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""The control characters C0, DEL and C1, line and paragraph separators, bidirectional controls, and surrogates, which
no output encoding supports. Joiners and spaces of all kinds are allowed, because languages need them. Source: ECMA-48;
Unicode Standard Annex 9, table 4 (bidirectional controls); CVE-2021-42574 for what these can hide."""


def escape(text: str, *, keep: str = "\n\t") -> str:
    r"""Return `text` with terminal control characters visible: ESC becomes `\x1b`, U+202E becomes `\u202e`.

    Args:
        text: Any text.
        keep: Control characters to leave unchanged; empty: the result is one line.
    """
    return _UNSAFE.sub(lambda found: found[0] if found[0] in keep else _escape_one(found[0]), text)


def escape_json(text: str) -> str:
    """Return JSON text of the same value without any terminal control characters.

    Args:
        text: Valid JSON; outside of its strings it holds no control characters except line breaks and tabs.
    """
    return _UNSAFE.sub(lambda found: found[0] if found[0] in "\n\t" else f"\\u{ord(found[0]):04x}", text)


def is_safe(text: str) -> bool:
    """Return whether `text` can be written to a terminal unchanged."""
    return escape(text) == text


def _escape_one(char: str) -> str:
    return f"\\x{ord(char):02x}" if ord(char) < 0x100 else f"\\u{ord(char):04x}"
