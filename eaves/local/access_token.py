"""Access token for callers from other machines when `eaves up --listen` opens a port."""

from __future__ import annotations

import hmac
import secrets
from pathlib import Path

from eaves.base.files import write_atomically
from eaves.errors import StorageError

TOKEN_BYTES = 32
"""Random bytes of a token, which make 43 characters."""
SCHEME = "bearer"
UNAUTHORISED = "requests from other machines need the platform's token: Authorization: Bearer TOKEN"


class AccessToken:
    """A token in a file, which is read at each request: replacing the file replaces the token at once.

    Args:
        path: Path of the file; when missing, it is created with a random token, readable only by this user.

    Raises:
        StorageError: When the file can't be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            if not path.exists():
                write_atomically(path, secrets.token_urlsafe(TOKEN_BYTES) + "\n")
        except OSError as error:
            raise StorageError(f"{path} can't be written: {error}", hint=f"ls -ld {path.parent}") from error

    def is_in(self, authorization: str) -> bool:
        """Return whether an Authorization header has the token. An unreadable or empty file admits no caller."""
        scheme, _, given = authorization.partition(" ")
        try:
            wanted = self._path.read_bytes().strip()
        except OSError:
            return False
        matches = hmac.compare_digest(given.strip().encode(), wanted)
        return bool(wanted) and scheme.lower() == SCHEME and matches
