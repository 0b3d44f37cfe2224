"""The password of people and the token of programs, read again when their files change."""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import threading
from dataclasses import dataclass, field
from pathlib import Path

from eaves.credentials.folder import PASSWORD, TOKEN, read_credentials
from eaves.errors import ConfigError, Fault

MIN_CHARACTERS = 12
"""Minimum length of a password, characters. The limit of logins allows 16 million guesses a year, so even three
random words, which 12 characters are, last for thousands of years."""
MIN_TOKEN_CHARACTERS = 16
"""Minimum length of a token, characters, as for the token of `eaves up`."""
MAX_CHARACTERS = 1_024
"""Maximum length of a password that is compared, characters."""

_log = logging.getLogger(__name__)

_Signature = tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Secrets:
    """Digests of the secrets; None when there is no usable one.

    Attributes:
        password: Digest of the password under the key of this process.
        token: Digest of the token.
        version: Value that changes with the password, for the key of sessions.
    """

    password: bytes | None = field(default=None, repr=False)
    token: bytes | None = field(default=None, repr=False)
    version: bytes = field(default=b"", repr=False)


class ConsoleCredentials:
    """The secrets in a folder; a changed file applies to the next request. Safe to use from many threads.

    Only keyed digests stay in memory, which are compared in constant time whatever the length of the guess. A slow hash
    such as scrypt would protect nothing, because the same user can read the files, and would let strangers spend memory
    and processor time with each guess.

    Args:
        folder: Folder with `password` and perhaps `token`.

    Raises:
        ConfigError: When there is no password, or a secret is too short.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._signature = self._sign()
        self._secrets = self._load()

    def has_password(self, given: str) -> bool:
        """Return whether a text is the password; without a usable password file nothing is."""
        return self._matches(self._current().password, given)

    def has_token(self, authorization: str) -> bool:
        """Return whether an Authorization header has the token."""
        scheme, _, given = authorization.partition(" ")
        return scheme.lower() == "bearer" and self._matches(self._current().token, given.strip())

    def version(self) -> bytes:
        """Return a value that changes with the password."""
        return self._current().version

    def has_version(self, version: bytes) -> bool:
        """Return whether the password hasn't changed since `version` was returned."""
        return hmac.compare_digest(self.version(), version)

    def _matches(self, wanted: bytes | None, given: str) -> bool:
        return wanted is not None and hmac.compare_digest(self._digest(given[: MAX_CHARACTERS + 1]), wanted)

    def _digest(self, text: str) -> bytes:
        return hmac.digest(self._key, text.encode(errors="surrogatepass"), "sha256")

    def _current(self) -> _Secrets:
        """Return the secrets, read again when a file has changed; none of them when a file can't be used any more."""
        with self._lock:
            signature = self._sign()
            if signature != self._signature:
                self._signature = signature
                try:
                    self._secrets = self._load()
                except ConfigError as error:
                    _log.error("%s; nobody can log in to the console until this is corrected", error.message)
                    self._secrets = _Secrets()
                else:
                    _log.info("the console's credentials in %s were read again", self._folder)
            return self._secrets

    def _load(self) -> _Secrets:
        found = read_credentials(self._folder)
        password = found.password.strip()
        if not MIN_CHARACTERS <= len(password) <= MAX_CHARACTERS:
            raise _fault(self._folder / PASSWORD, f"must hold a password of at least {MIN_CHARACTERS} characters")
        if found.token and len(found.token) < MIN_TOKEN_CHARACTERS:
            raise _fault(self._folder / TOKEN, f"must hold a token of at least {MIN_TOKEN_CHARACTERS} characters")
        return _Secrets(
            password=self._digest(password),
            token=self._digest(found.token) if found.token else None,
            version=hashlib.sha256(password.encode()).digest(),
        )

    def _sign(self) -> _Signature:
        return tuple(_sign(self._folder / name) for name in (PASSWORD, TOKEN))


def _sign(path: Path) -> tuple[int, int, int] | None:
    """Return a value that changes when the file changes; None when it is missing."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _fault(path: Path, message: str) -> ConfigError:
    fault = Fault(origin="credentials", path=str(path), message=message)
    return ConfigError([fault], hint=f"rm {path}   # `eaves up` then creates it with a random password")
