"""Removal of passwords and tokens from text for logs, status and errors."""

from __future__ import annotations

import re

HIDDEN = "***"
# `re` compiles these at their first use and keeps the result: a function logs no address while it starts.
_USERINFO = r"(?<=://)[^\s/?#@\"']*(?:@[^\s/?#@\"']*)*@(?=[^\s/?#@])"
_QUERY = (
    r"(?i)([?&;](?:[a-z0-9_.-]*(?:pas|psw|pwd|jwt|token|secret|signature|credential|api_?key|auth)[a-z0-9_.-]*"
    r"|[a-z0-9_.-]*sid|sig|key|u|p|usr|user(?:name)?|login(?:use|user|name)?))"
    r"=(?!\{(?:username|password)\}(?:[&;#\s\"']|$))[^\s&;#\"']*"
)
"""Pattern of a query parameter whose name says that its value is a user name, a password or a token."""


def redact(text: str) -> str:
    """Return the text with secrets in its addresses replaced by `***`.

    Secrets are the user information of an address, and each query value with a name like that of a credential. The
    placeholders of `fill_in` stay as they are.
    """
    if "://" not in text and "=" not in text:
        return text  # neither pattern can match, and most log messages have no address
    return re.sub(_QUERY, rf"\1={HIDDEN}", re.sub(_USERINFO, f"{HIDDEN}@", text))


def has_secrets(address: str) -> bool:
    """Return whether an address contains a secret that `redact` would hide.

    Such a secret belongs in a file, not in eaves.yaml.
    """
    return redact(address) != address
