"""Sessions that ended before they expired, so that a copy of their cookie is worth nothing.

The list is in a file, because the console's process ends when nobody looks.
"""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path

from eaves.base.files import write_atomically

FILE = "console-logouts.json"
MAX = 1_000
"""Maximum number of sessions in the list; the ones that expire first are forgotten first."""
MAX_FILE_BYTES = 1_000_000

_log = logging.getLogger(__name__)


class Logouts:
    """The list of sessions that ended early. Safe to use from many threads.

    Args:
        state: Directory of the file; None keeps the list in memory only.
    """

    def __init__(self, state: Path | None) -> None:
        self._path = None if state is None else state / FILE
        self._lock = threading.Lock()
        self._until: dict[str, float] = {} if self._path is None else _load(self._path)

    def add(self, session: str, *, until: float, now: float) -> None:
        """Note that a session has ended. When the file can't be written, the session ends for this process only.

        Args:
            session: Id of the session.
            until: Time at which it would have expired, Unix seconds.
            now: Present time, Unix seconds.
        """
        with self._lock:
            self._until[session] = until
            kept = sorted((end, name) for name, end in self._until.items() if end > now)[-MAX:]
            self._until = {name: end for end, name in kept}
            if self._path is None:
                return
            try:
                write_atomically(self._path, json.dumps(self._until))
            except OSError as error:
                _log.error(
                    "%s can't be written, so a logout lasts until the console starts again: %s", self._path, error
                )

    def __contains__(self, session: str) -> bool:
        with self._lock:
            return session in self._until


def _load(path: Path) -> dict[str, float]:
    """Return the list in a file; empty when there is none. A damaged file is logged and replaced at the next logout."""
    try:
        with path.open("rb") as stream:
            found = json.loads(stream.read(MAX_FILE_BYTES))
        return {str(name): float(end) for name, end in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        _log.warning("%s can't be read, so earlier logouts are forgotten: %s", path, error)
        return {}
