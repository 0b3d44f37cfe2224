"""Addresses whose query holds a user's name and password: cameras ask for that, and eaves.yaml should hold neither."""

from __future__ import annotations

from urllib.parse import quote

from eaves.credentials.folder import Credentials


def fill_in(address: str, credentials: Credentials) -> str:
    """The address with `{username}` and `{password}` replaced by what the credentials say, percent-encoded.

    Only the query is looked at: the user's part of an address is logged in with, not sent.
    """
    path, mark, query = address.partition("?")
    for name, value in (("username", credentials.username), ("password", credentials.password)):
        query = query.replace(f"{{{name}}}", quote(value, safe=""))
    return f"{path}{mark}{query}"
