"""Thumbnails of the photos that were tried last, so that the page can show them without a script."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict

KEPT = 40
"""Maximum number of thumbnails; together they take about 1 MB."""


class Previews:
    """Thumbnails in memory by a random key. It may be used by several threads."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, thumbnail: bytes) -> str:
        """Keep a thumbnail and return its key, which can't be guessed; the oldest one goes when there are many."""
        key = secrets.token_urlsafe(16)
        with self._lock:
            self._kept[key] = thumbnail
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return key

    def get(self, key: str) -> bytes | None:
        """Return a thumbnail; None when it isn't kept any more."""
        with self._lock:
            return self._kept.get(key)
