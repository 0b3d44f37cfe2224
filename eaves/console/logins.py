"""Logins: the password, the limit of failed attempts, the key that signs sessions, and sessions that ended early.

A session is Flask's signed cookie. The key that signs it is in a file, because the console's process ends when nobody
looks, and pages that are still open must work when it starts again.
"""

from __future__ import annotations

import errno
import hashlib
import hmac
import json
import logging
import math
import secrets
import threading
from pathlib import Path

from eaves.base.clock import SYSTEM, Clock
from eaves.base.files import find_stamp, write_atomically
from eaves.credentials import PASSWORD, read_credentials
from eaves.errors import ConfigError, StorageError

MIN_CHARACTERS = 12
"""Minimum length of a password, characters. The limit of logins allows a million guesses a year, so even three
random words, which 12 characters are, last for thousands of years."""
MAX_CHARACTERS = 1_024
"""Maximum length of a password that is compared, characters."""
ATTEMPTS, REFILL_S = 5, 30.0
"""Number of failed logins at once, and the time after which one more is allowed, seconds."""
KEY_FILE, LOGOUTS_FILE = "console.key", "console-logouts.json"
KEY_BYTES = 32
MAX_LOGOUTS = 1_000
"""Maximum number of sessions that are remembered as ended; the ones that expire first are forgotten first."""
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""Errors of a disk that is full or read-only."""

_log = logging.getLogger(__name__)


def load_signing_key(state: Path | None) -> bytes:
    """Load the key of a state directory, and create it when it is missing, damaged or readable by other users.

    On a disk that is full or read-only, the key is only in memory, because people need the console then more than they
    need to stay logged in.

    Args:
        state: State directory; None gives a key that only this process has.

    Raises:
        StorageError: When the file can't be read, or can't be written for another reason.
    """
    key = secrets.token_bytes(KEY_BYTES)
    if state is None:
        return key
    path = state / KEY_FILE
    try:
        if path.is_file() and not path.is_symlink() and not path.stat().st_mode & 0o077:
            found = path.read_bytes()
            if len(found) == KEY_BYTES:
                return found
        write_atomically(path, key)
    except OSError as error:
        if error.errno not in NO_ROOM:
            message = f"{path}: the key of the console can't be read or created: {error.strerror or error}"
            raise StorageError(message, hint=f"ls -ld {state} {path}") from error
        _log.warning("%s can't be written (%s), so logins end when the console's process ends", path, error.strerror)
    return key


class ConsolePassword:
    """The file `password` in a folder; a changed file applies to the next request. Safe to use from many threads.

    Only a keyed digest stays in memory, which is compared in constant time whatever the length of the guess. A slow
    hash such as scrypt would protect nothing, because the same user can read the file, and would let strangers spend
    memory and processor time with each guess.

    Args:
        folder: Folder of the console's credentials.
        key: Key of the digest.

    Raises:
        ConfigError: When there is no password, or it is too short.
    """

    def __init__(self, folder: Path, key: bytes) -> None:
        self._folder = folder
        self._key = key
        self._lock = threading.Lock()
        self._stamp = find_stamp(folder / PASSWORD)
        self._wanted: bytes | None = self._load()

    def matches(self, given: str) -> bool:
        """Return whether a text is the password; without a usable password file nothing is."""
        wanted = self._current()
        return wanted is not None and hmac.compare_digest(self._digest(given[: MAX_CHARACTERS + 1]), wanted)

    @property
    def version(self) -> str:
        """A text that changes with the password, and reveals nothing of it; it ends sessions of an earlier one."""
        return hashlib.sha256(self._current() or b"").hexdigest()[:16]

    def _digest(self, text: str) -> bytes:
        return hmac.digest(self._key, f"password {text}".encode(errors="surrogatepass"), "sha256")

    def _current(self) -> bytes | None:
        """Return the digest, made again when the file has changed; None while the file can't be used."""
        with self._lock:
            stamp = find_stamp(self._folder / PASSWORD)
            if stamp != self._stamp:
                self._stamp, self._wanted = stamp, None
                try:
                    self._wanted = self._load()
                except ConfigError as error:
                    _log.error("%s; nobody can log in to the console until this is corrected", error.message)
                else:
                    _log.info("the console's password in %s was read again", self._folder)
            return self._wanted

    def _load(self) -> bytes:
        found = read_credentials(self._folder).password.strip()
        if MIN_CHARACTERS <= len(found) <= MAX_CHARACTERS:
            return self._digest(found)
        path, message = self._folder / PASSWORD, f"must hold a password of at least {MIN_CHARACTERS} characters"
        hint = f"rm {path}   # `eaves up` then creates it with a random password"
        raise ConfigError.single("credentials", str(path), message, hint=hint)


class LoginLimit:
    """Counts failed logins, those of each known browser apart from those of all others. Safe to use from many threads.

    A browser that has logged in before is known by a signed cookie, so strangers who guess can't keep it out; all
    others share one budget, so guesses are few however many addresses they come from.

    Source: OWASP, Slow Down Online Guessing Attacks with Device Cookies; the generic cell rate algorithm, ITU-T I.371,
    annex A: a bucket is the time at which it is full again.
    """

    def __init__(self, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._full_at: dict[str, float] = {}

    def take(self, browser: str) -> int:
        """Count an attempt before its password is compared.

        Args:
            browser: Name of a known browser; empty for all others.

        Returns:
            0 when the attempt may be made; otherwise the time after which another may be, in whole seconds.
        """
        now = self._clock.monotonic()
        with self._lock:
            self._full_at = {name: at for name, at in self._full_at.items() if at > now}
            full_at = self._full_at.get(browser, now)
            wait_s = full_at - now - (ATTEMPTS - 1) * REFILL_S
            if wait_s <= 0:
                self._full_at[browser] = full_at + REFILL_S
        return max(0, math.ceil(wait_s))

    def give_back(self, browser: str) -> None:
        """Forget an attempt, because its password was right."""
        with self._lock:
            if browser in self._full_at:
                self._full_at[browser] -= REFILL_S


class Logouts:
    """Sessions that ended before they expired, so that a copy of their cookie is worth nothing.

    Args:
        state: Directory of the list, as the console's process ends when nobody looks; None keeps it in memory only.
    """

    def __init__(self, state: Path | None) -> None:
        self._path = None if state is None else state / LOGOUTS_FILE
        self._lock = threading.Lock()
        self._until: dict[str, float] = {}
        if self._path is not None and self._path.exists():
            try:
                self._until = {str(name): float(end) for name, end in json.loads(self._path.read_bytes()).items()}
            except (OSError, ValueError, TypeError, AttributeError) as error:
                _log.warning("%s can't be read, so earlier logouts are forgotten: %s", self._path, error)

    def add(self, session: str, *, until: float, now: float) -> None:
        """Note that a session has ended, until it would have expired. A full disk makes that last for this process."""
        with self._lock:
            self._until[session] = until
            kept = sorted((end, name) for name, end in self._until.items() if end > now)[-MAX_LOGOUTS:]
            self._until = {name: end for end, name in kept}
            try:
                if self._path is not None:
                    write_atomically(self._path, json.dumps(self._until))
            except OSError as error:
                _log.error("%s can't be written, so a logout lasts until the console restarts: %s", self._path, error)

    def __contains__(self, session: str) -> bool:
        return session in self._until
