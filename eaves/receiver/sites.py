"""The sites that may send, and how each shows who it is.

A folder holds a file for each site, as Kubernetes mounts a Secret: the file's name is the site's, and each line is a
token. A site whose file has no token shows a client certificate. Removing the file shuts the site out.
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

LOOK_S = 1.0
"""How often the files are looked at for changes, seconds."""
MIN_TOKEN = 16
"""Characters that a token has at least: a shorter one could be guessed."""
MAX_BYTES = 65_536
"""Largest file that is read."""
SITE_PATTERN = re.compile(r"[A-Za-z0-9]([-._A-Za-z0-9]{0,251}[A-Za-z0-9])?")
"""What a site may be called here. Source: Kubernetes, keys of a Secret, without those that begin with a dot."""

_log = logging.getLogger(__name__)

_Signature = tuple[tuple[str, int, int, int], ...]


class Sites:
    """The folder of sites, read again when a file in it changes.

    Args:
        folder: The folder.

    Raises:
        ConfigError: When it can't be read now. Later the sites that were read before are used until it can.
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
            _log.warning("%s holds no site; every sender is refused until it does", folder)

    def names(self) -> Collection[str]:
        """The sites."""
        return self._current().keys()

    def shared_tokens(self) -> Sequence[tuple[str, ...]]:
        """Sites that have one token together; it lets none of them in."""
        return _find_shared(self._current())

    def find_by_token(self, token: str) -> str:
        """The site whose token this is; empty when it is none's, or that of several.

        Every token is compared, in a time that doesn't depend on what they have in common.
        """
        given = hashlib.sha256(token.encode("latin-1", "replace")).digest()  # a header's bytes
        found = {
            site for site, hashes in self._current().items() for known in hashes if hmac.compare_digest(known, given)
        }
        return found.pop() if len(found) == 1 else ""

    def find_by_certificate(self, names: Collection[str]) -> str:
        """The site that a verified certificate names; empty when it names none or several.

        Args:
            names: Common name and DNS names of the certificate.
        """
        found = self._current().keys() & set(names)
        return found.pop() if len(found) == 1 else ""

    def identify(self, authorization: str, names: Collection[str]) -> str:
        """The site that a caller is; empty when it isn't known.

        A token that is shown must be good, even beside a good certificate, and both must be the same site's.

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
            if now - self._looked_at >= LOOK_S:
                self._looked_at = now
                self._reread()
            return self._hashes

    def _reread(self) -> None:
        try:
            signature = _sign(self._folder)
        except OSError as error:
            if not self._hidden:
                _log.error("%s can't be read: %s; the tokens that were read before hold", self._folder, error.strerror)
            self._hidden = True
            return
        self._hidden = False
        if signature != self._signature:
            self._hashes = _read_hashes(self._folder, signature)
            self._signature = signature
            _log.info("tokens of %d sites are read again", len(self._hashes))


def _sign(folder: Path) -> _Signature:
    """What changes with the files of sites, symbolic links followed.

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
            continue  # replaced just now; its new state is another signature
        found.append((path.name, status.st_ino, status.st_mtime_ns, status.st_size))
    return tuple(found)


def _read_hashes(folder: Path, signature: _Signature) -> dict[str, tuple[bytes, ...]]:
    """Site to hashes of its tokens. A file that can't be used shuts its site out and no other."""
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
            _log.error("site %s has a token of fewer than %d characters; that one isn't taken", name, MIN_TOKEN)
        found[name] = tuple(hashlib.sha256(token).digest() for token in tokens if len(token) >= MIN_TOKEN)
    for names in _find_shared(found):
        files = ", ".join(str(folder / name) for name in names)
        _log.error("%s have the same token, which lets none of these sites in; give each its own", files)
    return found


def _find_shared(hashes: Mapping[str, Sequence[bytes]]) -> list[tuple[str, ...]]:
    sites: dict[bytes, set[str]] = defaultdict(set)
    for site, known in hashes.items():
        for one in known:
            sites[one].add(site)
    return sorted({tuple(sorted(names)) for names in sites.values() if len(names) > 1})
