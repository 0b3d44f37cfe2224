"""Text for logs, status and errors without passwords and tokens."""

from __future__ import annotations

import re

HIDDEN = "***"
_USERINFO = re.compile(r"(?<=://)[^\s/?#@\"']*(?:@[^\s/?#@\"']*)*@(?=[^\s/?#@])")
_QUERY = re.compile(
    r"(?i)([?&;](?:[a-z0-9_.-]*(?:passw(?:or)?d|passwd|pwd|token|secret|signature|credential|api_?key|auth)[a-z0-9_.-]*"
    r"|sig|key|usr|user(?:name)?|pass))=(?!\{(?:username|password)\}(?:[&;#\s\"']|$))[^\s&;#\"']*"
)


def redact(text: str) -> str:
    """The text with the user's part of each address, and each query value named like a credential, replaced by ***.

    The placeholders of `fill_in` stay as they are.
    """
    return _QUERY.sub(rf"\1={HIDDEN}", _USERINFO.sub(f"{HIDDEN}@", text))


def has_secrets(address: str) -> bool:
    """Whether an address holds what `redact` would hide: it belongs in a file, not in eaves.yaml."""
    return redact(address) != address
