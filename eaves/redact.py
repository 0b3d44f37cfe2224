"""Removal of passwords and tokens from text for logs, status and errors."""

from __future__ import annotations

import re
from collections.abc import Iterable

HIDDEN = "***"
MIN_SECRET = 4
"""Length from which `redact_values` replaces a secret wherever it stands in a text, characters. A shorter one, such as
`1`, would make the text unreadable."""
# `re` compiles these at their first use and keeps the result: a function logs no address while it starts.
_USERINFO = r"(?<=://)[^\s/?#@\"']*(?:@[^\s/?#@\"']*)*@(?=[^\s/?#@])"
_SECRETS = r"(?:pas|psw|pwd|jwt|token|secret|signature|credential|api_?key|auth)"
_QUERY = (
    rf"(?i)([?&;](?:[a-z0-9_.-]*{_SECRETS}[a-z0-9_.-]*"
    r"|[a-z0-9_.-]*sid|sig|key|u|p|usr|user(?:name)?|login(?:use|user|name)?))"
    r"=(?!\{(?:username|password)\}(?:[&;#/?\s\"']|$))[^\s&;#\"']*"
)
"""Pattern of a query parameter whose name says that its value is a user name, a password or a token."""
_PATH = (
    rf"(?i)([/_][a-z0-9.-]*{_SECRETS}[a-z0-9.-]*)"
    r"=(?!\{(?:username|password)\}(?:[_&;#/?\s\"']|$)|_[a-z][a-z0-9.-]*=)"
    r"[^\s&;#/?\"']+?(?=_[a-z][a-z0-9.-]*=(?!=|[\s&;#/?\"']|$)|[\s&;#/?\"']|$)"
)
"""Pattern of a password or token within a path: `/user=admin_password=SECRET_channel=1_stream=0.sdp`, as cameras of the
makers XMEye and Hisilicon have it. The value ends before the next `_NAME=`."""


def redact(text: str) -> str:
    """Return the text with secrets in its addresses replaced by `***`.

    Secrets are the user information of an address, each query value with a name like that of a credential, and each
    value in a path with a name like that of a password or token. The placeholders of `fill_in` stay as they are.
    """
    if "://" not in text and "=" not in text:
        return text  # neither pattern can match, and most log messages have no address
    text = re.sub(_QUERY, rf"\1={HIDDEN}", re.sub(_USERINFO, f"{HIDDEN}@", text))
    return re.sub(_PATH, rf"\1={HIDDEN}", text)


def redact_values(text: str, secrets: Iterable[str]) -> str:
    """Return the text with these secrets replaced by `***` wherever they stand, also percent-encoded and in other case.

    Args:
        text: Text of another program.
        secrets: Passwords that were sent to that program; one shorter than `MIN_SECRET` is not replaced.
    """
    from urllib.parse import quote, unquote  # a function, which redacts too, has no use for it

    found = {form for one in secrets for form in (one, quote(one, safe=""), unquote(one))}
    for secret in sorted((one for one in found if len(one) >= MIN_SECRET), key=len, reverse=True):
        text = re.sub(re.escape(secret), HIDDEN, text, flags=re.IGNORECASE)
    return text


def has_secrets(address: str) -> bool:
    """Return whether an address contains a secret that `redact` would hide.

    Such a secret belongs in a file, not in eaves.yaml.
    """
    return redact(address) != address


def has_secrets_in_path(address: str) -> bool:
    """Return whether the path of an address contains a password or token that `redact` would hide."""
    path = address.partition("?")[0].partition("://")[2].partition("/")[2]
    return has_secrets(f"/{path}")
