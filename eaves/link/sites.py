"""Sites that may send events, with their tokens and certificates, and what is counted of each.

The folder holds one file per site, as Kubernetes mounts a Secret. The file's name is the site's, and each line is a
token. A site whose file has no token authenticates with a client certificate. Deleting the file locks the site out.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import secrets
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from eaves.base.clock import SYSTEM
from eaves.base.files import make_directory, write_atomically
from eaves.base.names import NAME_PATTERN
from eaves.errors import ConfigError, InputError, StorageError

POLL_S = 1.0
"""Interval at which the files are read again, seconds."""
MIN_TOKEN = 16
"""Minimum length of a token, characters; a shorter one could be guessed."""
TOKEN_BYTES = 32
"""Number of random bytes in a token that `add_token` makes; it has 43 characters."""
MAX_BYTES = 65_536
"""Maximum size of a file that is read, bytes."""
SITE_PATTERN = re.compile(r"[A-Za-z0-9]([-._A-Za-z0-9]{0,251}[A-Za-z0-9])?")
"""Pattern of a site's name. Source: Kubernetes, keys of a Secret, without those that begin with a dot."""

OUTCOMES = (
    *("stored", "repeated", "predicted", "forged", "conflicting", "oversized", "malformed", "unauthorised"),
    *("overloaded", "full", "failed"),
)
"""Every outcome that events are counted by, in the order of the table in docs/link.md."""
LOG_S = 60.0
"""Minimum time between two log lines about refusals of the same kind and site, seconds; a refused sender retries at
once."""
METRIC = "eaves_receiver_events_total"

_log = logging.getLogger(__name__)


class Sites:
    """Sites in a folder, which is read again while requests come.

    Args:
        folder: Folder with one file per site.

    Raises:
        ConfigError: When the folder can't be read at the start. Later, the last known sites are used until the folder
            can be read again.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._read_at = time.monotonic()
        self._is_hidden = False
        self._files: Mapping[str, bytes | None] = {}
        self._hashes: Mapping[str, Collection[bytes]] = {}
        try:
            self._read()
        except OSError as error:
            raise ConfigError.single(
                "sites",
                str(folder),
                f"can't be read: {error.strerror}",
                hint=f"eaves receiver token SITE --sites {folder}",
            ) from error
        if not self._hashes:
            _log.warning("%s contains no file of a site; every sender is refused until it does", folder)

    def names(self) -> Collection[str]:
        """Return the names of the sites."""
        return self._current().keys()

    def shared_tokens(self) -> Sequence[tuple[str, ...]]:
        """Return groups of sites that share a token; a shared token lets none of them in."""
        sites: dict[bytes, set[str]] = defaultdict(set)
        for site, hashes in self._hashes.items():
            for one in hashes:
                sites[one].add(site)
        return sorted({tuple(sorted(names)) for names in sites.values() if len(names) > 1})

    def find_by_token(self, token: str) -> str:
        """Return the site with this token; empty when no site or several have it.

        The token is compared with every known one, in a time that doesn't depend on their common prefix.
        """
        given = hashlib.sha256(token.encode("latin-1", "replace")).digest()  # a header's bytes
        found = {
            site for site, hashes in self._current().items() for known in hashes if hmac.compare_digest(known, given)
        }
        return found.pop() if len(found) == 1 else ""

    def identify(self, authorization: str, names: Collection[str]) -> str:
        """Return the site of a caller; empty when it isn't known.

        A token that is sent must be valid, even beside a valid certificate, and both must belong to the same site. A
        certificate that names several sites is that of none.

        Args:
            authorization: Value of the Authorization header; empty without one.
            names: Common name and DNS names of the caller's verified certificate.
        """
        found = self._current().keys() & set(names)
        named = found.pop() if len(found) == 1 else ""
        if not authorization:
            return named
        scheme, _, token = authorization.strip().partition(" ")
        if scheme.lower() != "bearer":
            return ""
        site = self.find_by_token(token.strip())
        return site if named in ("", site) else ""

    def _current(self) -> Mapping[str, Collection[bytes]]:
        with self._lock:
            now = time.monotonic()
            if now - self._read_at >= POLL_S:
                self._read_at = now
                try:
                    self._read()
                except OSError as error:
                    if not self._is_hidden:
                        text = "%s can't be read: %s; the tokens that were read before stay valid"
                        _log.error(text, self._folder, error.strerror)
                    self._is_hidden = True
                else:
                    self._is_hidden = False
            return self._hashes

    def _read(self) -> None:
        """Read the files, and report what is wrong with them when they have changed.

        Raises:
            OSError: When the folder can't be listed.
        """
        files = _read_files(self._folder)
        if files == self._files:
            return
        self._files = files
        self._hashes = {name: _hash_tokens(name, data) for name, data in files.items() if data is not None}
        _log.info("the tokens were read; number of sites: %d", len(self._hashes))
        for name in files.keys() - self._hashes.keys():
            text = "%s can't be read, or has more than %d bytes; this site is refused"
            _log.error(text, self._folder / name, MAX_BYTES)
        for names in self.shared_tokens():
            paths = ", ".join(str(self._folder / name) for name in names)
            _log.error("%s have the same token, so none of these sites is accepted; give each its own token", paths)


def _read_files(folder: Path) -> dict[str, bytes | None]:
    """Return the content of each site's file, None for one that can't be used; symbolic links are followed."""
    found: dict[str, bytes | None] = {}
    for path in folder.iterdir():
        if not SITE_PATTERN.fullmatch(path.name):
            continue
        try:
            with path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except (FileNotFoundError, IsADirectoryError):
            continue  # it is being replaced, or is no file of a site
        except OSError:
            found[path.name] = None
        else:
            found[path.name] = data if len(data) <= MAX_BYTES else None
    return found


def _hash_tokens(site: str, data: bytes) -> Collection[bytes]:
    tokens = [line for line in map(bytes.strip, data.splitlines()) if line and not line.startswith(b"#")]
    if any(len(token) < MIN_TOKEN for token in tokens):
        _log.error("site %s has a token of fewer than %d characters; this token is ignored", site, MIN_TOKEN)
    return [hashlib.sha256(token).digest() for token in tokens if len(token) >= MIN_TOKEN]


def add_token(folder: Path, site: str, *, keep: bool = False, replace: bool = False) -> Path:
    """Append a random token to a site's file, which only its owner can read, and return the file's path.

    Args:
        folder: Folder of the sites; created when it is missing.
        site: Name of the site.
        keep: Whether the existing tokens stay valid, so that the site can change to the new one without a gap.
        replace: Whether the existing tokens become invalid.

    Raises:
        ConfigError: When the name is not valid for a site.
        InputError: When the site already has a token and neither `keep` nor `replace` is set.
        StorageError: When the file can't be written.
    """
    if not NAME_PATTERN.fullmatch(site):
        message = f"must be 1-40 characters a-z, 0-9 and '-', starting with a letter (got {site[:64]!r})"
        raise ConfigError.single("site", "", message, hint="use a name such as mill-2")
    path = folder / site
    try:
        make_directory(folder)
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        if before.strip() and not (keep or replace):
            raise InputError(
                f"{site} already has a token, in {path}",
                hint=("add another token with --keep, or replace it with --replace"),
            )
        lines = [line for line in before.splitlines() if line.strip()] if keep else []
        write_atomically(path, "\n".join([*lines, secrets.token_urlsafe(TOKEN_BYTES)]) + "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(f"{path} can't be written: {error}", hint=f"ls -ld {folder}") from error
    return path


class SiteCounters:
    """Counts events by site and outcome. Safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, Counter[str]] = {}
        self._logged: dict[tuple[str, str], float] = {}
        self._contacts: dict[str, float] = {}

    def add(self, site: str, outcome: str, count: int = 1) -> None:
        """Count events, or requests that were refused before their events were known.

        Args:
            site: Name of the site; empty when it isn't known.
            outcome: One of `OUTCOMES`.
            count: Number to add.
        """
        with self._lock:
            self._counts.setdefault(site, Counter())[outcome] += count

    def refuse(self, site: str, outcome: str, detail: str) -> None:
        """Count a refusal, and log it unless a similar refusal of the site was logged recently."""
        self.add(site, outcome)
        now = SYSTEM.monotonic()
        with self._lock:
            if now - self._logged.get((site, outcome), float("-inf")) < LOG_S:
                return
            self._logged[site, outcome] = now
        _log.warning("refused as %s, site %s: %s", outcome, site or "unknown", detail[:256], extra={"site": site})

    def meet(self, site: str) -> None:
        """Record the current time as the last contact of a site, which has just authenticated itself."""
        with self._lock:
            self._contacts[site] = SYSTEM.now()

    def contacts(self) -> Mapping[str, float]:
        """Return the time of each site's last contact since the process started, Unix seconds."""
        with self._lock:
            return dict(self._contacts)

    def to_dict(self) -> Mapping[str, Mapping[str, int]]:
        """Return counts by site and outcome; unknown sites are counted together under the empty name."""
        with self._lock:
            return {site: dict(counts) for site, counts in self._counts.items()}

    def render_metrics(self) -> str:
        """Render the counters as Prometheus text."""
        lines = [
            f"# HELP {METRIC} Events, or requests refused before their events were known, by site and outcome.",
            f"# TYPE {METRIC} counter",
        ]
        for site, counts in sorted(self.to_dict().items()):
            known = [(outcome, counts[outcome]) for outcome in OUTCOMES if counts.get(outcome)]
            lines += [f'{METRIC}{{site="{site}",outcome="{outcome}"}} {count}' for outcome, count in known]
        return "\n".join([*lines, ""])
