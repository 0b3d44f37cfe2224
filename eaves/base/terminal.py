r"""Text of others on its way to a terminal.

Labels, file names, reasons and log lines come from models, senders and clusters. A terminal obeys control characters
in them: it moves the cursor, changes its title or hides text. `escape` makes such characters visible; everything that
writes text for people passes through it. JSON and YAML stay data: they use their own escapes.
"""

from __future__ import annotations

import re

_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""The control characters C0, DEL and C1, line and paragraph separators, bidirectional controls, and surrogates, which
no output encoding takes. Joiners and the many kinds of spaces stay, as languages need them.
Source: ECMA-48; Unicode Standard Annex 9, table 4 (bidirectional controls); CVE-2021-42574 for what these can hide."""


def escape(text: str, *, keep: str = "\n\t") -> str:
    r"""Return `text` with what could steer a terminal made visible: ESC becomes `\x1b`, U+202E becomes `\u202e`.

    Args:
        text: Any text.
        keep: Control characters to leave as they are; "" makes one line of it.
    """
    return _UNSAFE.sub(lambda found: found[0] if found[0] in keep else _escape_one(found[0]), text)


def escape_json(text: str) -> str:
    """Return JSON text of the same value that holds no character that could steer a terminal.

    Args:
        text: Valid JSON; outside of its strings it holds no control characters but line breaks and tabs.
    """
    return _UNSAFE.sub(lambda found: found[0] if found[0] in "\n\t" else f"\\u{ord(found[0]):04x}", text)


def is_safe(text: str) -> bool:
    """Return whether `text` can be written to a terminal as it is."""
    return escape(text) == text


def _escape_one(char: str) -> str:
    return f"\\x{ord(char):02x}" if ord(char) < 0x100 else f"\\u{ord(char):04x}"
