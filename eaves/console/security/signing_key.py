"""The key that signs sessions and form tokens.

It lives in a file, because the console's process ends when nobody looks and pages that are still open must work when
it starts again. The key of sessions is derived from the file and from the password, so a changed password ends every
session.
"""

from __future__ import annotations

import errno
import hashlib
import hmac
import logging
import os
import secrets
import stat
from pathlib import Path

from eaves.base.files import write_atomically
from eaves.errors import StorageError

FILE = "console.key"
KEY_BYTES = 32
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""Errors of a disk that is full or read-only."""

_log = logging.getLogger(__name__)


class SigningKey:
    """A secret, and the keys that are derived from it.

    Args:
        secret: At least 32 random bytes.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    @property
    def name(self) -> str:
        """Eight characters that name this key without revealing it, to tell the cookies of two consoles apart.

        Browsers share cookies between all ports of a host.
        """
        return self.derive("name").hex()[:8]

    def derive(self, purpose: str, *more: bytes) -> bytes:
        """Return the key of one purpose, 32 bytes.

        Args:
            purpose: Name of the purpose.
            more: Values that the key depends on; each is hashed, so that no two lists of values give the same key.
        """
        parts = [hashlib.sha256(part).digest() for part in (purpose.encode(), *more)]
        return hmac.digest(self._secret, b"".join(parts), "sha256")


def load_signing_key(state: Path | None) -> SigningKey:
    """Load the key of a state directory, and create it when it is missing or damaged.

    A file that another user may read is replaced, because its key may be known. On a disk that is full or read-only,
    the key is only in memory, because people need the console then more than they need to stay logged in.

    Args:
        state: State directory; None gives a key that only this process has.

    Raises:
        StorageError: When the file can't be read, or can't be written for another reason.
    """
    if state is None:
        return SigningKey(secrets.token_bytes(KEY_BYTES))
    path = state / FILE
    try:
        found = _read(path)
        if found is None:
            found = secrets.token_bytes(KEY_BYTES)
            _store(path, found)
    except OSError as error:
        message = f"{path}: the key of the console can't be read or created: {error.strerror or error}"
        raise StorageError(message, hint=f"ls -ld {state} {path}") from error
    return SigningKey(found)


def _store(path: Path, key: bytes) -> None:
    try:
        write_atomically(path, key)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        _log.warning("%s can't be written (%s), so logins end when the console's process ends", path, error.strerror)


def _read(path: Path) -> bytes | None:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    with os.fdopen(handle, "rb") as stream:
        status = os.fstat(handle)
        is_private = status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IRWXG | stat.S_IRWXO)
        if not stat.S_ISREG(status.st_mode) or not is_private:
            return None
        key = stream.read(KEY_BYTES + 1)
    return key if len(key) == KEY_BYTES else None
