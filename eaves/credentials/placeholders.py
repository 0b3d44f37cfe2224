"""Placeholders for user name and password in an address.

Some cameras require the credentials in the path or the query, and eaves.yaml should contain no credentials.
"""

from __future__ import annotations

from urllib.parse import quote, urlsplit, urlunsplit

from eaves.credentials.folder import Credentials


def fill_in(address: str, credentials: Credentials) -> str:
    """Return the address with `{username}` and `{password}` replaced by the credentials, percent-encoded.

    They are replaced in user information, path and query, and not in the host, which would be looked up by name.
    """

    def fill(text: str) -> str:
        for name, value in (("username", credentials.username), ("password", credentials.password)):
            text = text.replace(f"{{{name}}}", quote(value, safe=""))
        return text

    parts = urlsplit(address)
    user, at, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{fill(user)}{at}{host}", path=fill(parts.path), query=fill(parts.query)))
