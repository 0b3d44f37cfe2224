"""Placeholders for user name and password in the query of an address.

Some cameras require the credentials in the query, and eaves.yaml should contain no credentials.
"""

from __future__ import annotations

from urllib.parse import quote

from eaves.credentials.folder import Credentials


def fill_in(address: str, credentials: Credentials) -> str:
    """Return the address with `{username}` and `{password}` in its query replaced by the credentials, percent-encoded.

    The user information of an address is left unchanged, because it is used to log in and not sent.
    """
    path, mark, query = address.partition("?")
    for name, value in (("username", credentials.username), ("password", credentials.password)):
        query = query.replace(f"{{{name}}}", quote(value, safe=""))
    return f"{path}{mark}{query}"
