"""Access token that every request to the port needs when `eaves up --host` opens it to other machines."""

from __future__ import annotations

import hmac
import re
import secrets
from pathlib import Path

from eaves.base.files import write_atomically
from eaves.credentials import check_private
from eaves.errors import ConfigError, Fault, StorageError

TOKEN_BYTES = 32
"""Number of random bytes in a generated token; their base64 text has 43 characters."""
MIN_CHARACTERS = 16
"""Minimum length of a token that a user has written, characters. 16 random characters of base64 have 96 bits."""
MAX_FILE_BYTES = 4096
"""Maximum size of a token file, bytes, so that a wrong file isn't read into memory at each request."""
TOKEN_PATTERN = re.compile(rb"[A-Za-z0-9._~+/-]+=*")
"""Characters of a bearer token. Source: RFC 6750, section 2.1, b64token."""
SCHEME = "bearer"
UNAUTHORISED = "requests to this address need the platform's token: Authorization: Bearer TOKEN"


class AccessToken:
    """A token in a file, which is read at each request: replacing the file replaces the token at once.

    Connections from 127.0.0.1 need the token too, because a program on this machine that forwards TCP connections
    makes every caller look like one of this machine.

    Args:
        path: Path of the file; when missing, it is created with a random token, readable only by this user.

    Attributes:
        path: Absolute path of the file.

    Raises:
        ConfigError: When users other than its owner may read the file, or when it holds no valid token.
        StorageError: When the file can't be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        try:
            created = not path.exists()
            if created:
                write_atomically(path, secrets.token_urlsafe(TOKEN_BYTES) + "\n")
            _check_file(path)
        except OSError as error:
            action = "created" if created else "read"
            message = f"{path}: the token file can't be {action}: {error.strerror or error}"
            raise StorageError(message, hint=f"ls -ld {path.parent} {path}") from error

    def is_in(self, authorization: str) -> bool:
        """Return whether an Authorization header has the token. An unreadable or empty file admits no caller."""
        scheme, _, given = authorization.partition(" ")
        try:
            wanted = _read(self.path)
        except OSError:
            return False
        matches = hmac.compare_digest(given.strip().encode(), wanted)
        return bool(wanted) and scheme.lower() == SCHEME and matches


def _read(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(MAX_FILE_BYTES).strip()


def _check_file(path: Path) -> None:
    """Check that only the owner of a token file may read it, and that it holds a valid token.

    Raises:
        ConfigError: When users other than its owner may read the file, or when it holds no valid token.
        OSError: When the file can't be read.
    """
    check_private(path, setting="token_file")
    token = _read(path)
    if len(token) < MIN_CHARACTERS or not TOKEN_PATTERN.fullmatch(token):
        found = f"holds no token: one line of at least {MIN_CHARACTERS} letters, digits or . _ ~ + / - is needed"
        fault = Fault(origin="eaves up", path="token_file", message=f"{path} {found}")
        raise ConfigError([fault], hint=f"rm {path}   # `eaves up` then creates it with a random token")
