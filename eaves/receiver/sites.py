"""Sites that may send events, with their tokens and certificates.

The folder holds one file per site, as Kubernetes mounts a Secret. The file's name is the site's, and each line is a
token. A site whose file has no token authenticates with a client certificate. Deleting the file locks the site out.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import threading
import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from eaves.errors import ConfigError, Fault

POLL_S = 1.0
"""Interval at which the files are checked for changes, seconds."""
MIN_TOKEN = 16
"""Minimum length of a token, characters; a shorter one could be guessed."""
MAX_BYTES = 65_536
"""Maximum size of a file that is read, bytes."""
SITE_PATTERN = re.compile(r"[A-Za-z0-9]([-._A-Za-z0-9]{0,251}[A-Za-z0-9])?")
"""Pattern of a site's name. Source: Kubernetes, keys of a Secret, without those that begin with a dot."""

_log = logging.getLogger(__name__)

_Signature = tuple[tuple[str, int, int, int], ...]


class Sites:
    """Sites in a folder, which is read again when a file in it changes.

    Args:
        folder: Folder with one file per site.

    Raises:
        ConfigError: When the folder can't be read at the start. Later, the last known sites are used until the folder
            can be read again.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._looked_at = time.monotonic()
        self._hidden = False
        try:
            self._signature = _sign(folder)
        except OSError as error:
            fault = Fault(origin="sites", path=str(folder), message=f"can't be read: {error.strerror}")
            raise ConfigError([fault], hint=f"eaves receiver token SITE --sites {folder}") from error
        self._hashes = _read_hashes(folder, self._signature)
        if not self._hashes:
            _log.warning("%s contains no file of a site; every sender is refused until it does", folder)

    def names(self) -> Collection[str]:
        """Return the names of the sites."""
        return self._current().keys()

    def shared_tokens(self) -> Sequence[tuple[str, ...]]:
        """Return groups of sites that share a token; a shared token lets none of them in."""
        return _find_shared(self._current())

    def find_by_token(self, token: str) -> str:
        """Return the site with this token; empty when no site or several have it.

        The token is compared with every known one, in a time that doesn't depend on their common prefix.
        """
        given = hashlib.sha256(token.encode("latin-1", "replace")).digest()  # a header's bytes
        found = {
            site for site, hashes in self._current().items() for known in hashes if hmac.compare_digest(known, given)
        }
        return found.pop() if len(found) == 1 else ""

    def find_by_certificate(self, names: Collection[str]) -> str:
        """Return the site that a verified certificate names; empty when it names none or several.

        Args:
            names: Common name and DNS names of the certificate.
        """
        found = self._current().keys() & set(names)
        return found.pop() if len(found) == 1 else ""

    def identify(self, authorization: str, names: Collection[str]) -> str:
        """Return the site of a caller; empty when it isn't known.

        A token that is sent must be valid, even beside a valid certificate, and both must belong to the same site.

        Args:
            authorization: Value of the Authorization header; empty without one.
            names: Common name and DNS names of the caller's verified certificate.
        """
        named = self.find_by_certificate(names)
        if not authorization:
            return named
        scheme, _, token = authorization.strip().partition(" ")
        if scheme.lower() != "bearer":
            return ""
        site = self.find_by_token(token.strip())
        return site if named in ("", site) else ""

    def _current(self) -> Mapping[str, tuple[bytes, ...]]:
        with self._lock:
            now = time.monotonic()
            if now - self._looked_at >= POLL_S:
                self._looked_at = now
                self._reread()
            return self._hashes

    def _reread(self) -> None:
        try:
            signature = _sign(self._folder)
        except OSError as error:
            if not self._hidden:
                _log.error(
                    "%s can't be read: %s; the tokens that were read before stay valid", self._folder, error.strerror
                )
            self._hidden = True
            return
        self._hidden = False
        if signature != self._signature:
            self._hashes = _read_hashes(self._folder, signature)
            self._signature = signature
            _log.info("the tokens were read again; number of sites: %d", len(self._hashes))


def _sign(folder: Path) -> _Signature:
    """Return a value that changes when a site's file is added, changed or removed; symbolic links are followed.

    Raises:
        OSError: When the folder can't be listed.
    """
    found = []
    for path in sorted(folder.iterdir()):
        if not SITE_PATTERN.fullmatch(path.name):
            continue
        try:
            status = path.stat()
        except OSError:
            continue  # the file is being replaced; its new state gives another signature
        found.append((path.name, status.st_ino, status.st_mtime_ns, status.st_size))
    return tuple(found)


def _read_hashes(folder: Path, signature: _Signature) -> dict[str, tuple[bytes, ...]]:
    """Return the hashes of each site's tokens. A file that can't be used locks out its own site only."""
    found = {}
    for name, *_ in signature:
        path = folder / name
        if path.is_dir():
            continue
        try:
            with path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except OSError as error:
            _log.error("the tokens of site %s can't be read: %s", name, error.strerror)
            continue
        if len(data) > MAX_BYTES:
            _log.error("the file of site %s has more than %d bytes; the site is refused", name, MAX_BYTES)
            continue
        lines = [line.strip() for line in data.splitlines()]
        tokens = [line for line in lines if line and not line.startswith(b"#")]
        if any(len(token) < MIN_TOKEN for token in tokens):
            _log.error("site %s has a token of fewer than %d characters; this token is ignored", name, MIN_TOKEN)
        found[name] = tuple(hashlib.sha256(token).digest() for token in tokens if len(token) >= MIN_TOKEN)
    for names in _find_shared(found):
        files = ", ".join(str(folder / name) for name in names)
        _log.error("%s have the same token, so none of these sites is accepted; give each site its own token", files)
    return found


def _find_shared(hashes: Mapping[str, Sequence[bytes]]) -> list[tuple[str, ...]]:
    sites: dict[bytes, set[str]] = defaultdict(set)
    for site, known in hashes.items():
        for one in known:
            sites[one].add(site)
    return sorted({tuple(sorted(names)) for names in sites.values() if len(names) > 1})
