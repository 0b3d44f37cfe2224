"""What the decoder of a camera found in its stream: codec, size, rate, key frames, and why it ended."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from typing import get_args
from urllib.parse import urlsplit

from eaves.credentials.redact import redact
from eaves.sources.camera.kind import CameraSettings
from eaves.sources.camera.source import CameraSource
from eaves.sources.context import SourceContext
from eaves.sources.trial.failures import build_failure
from eaves.sources.trial.findings import Failure, FailureCode, StreamFacts
from eaves.sources.trial.load import measure_interval

_CODES: Mapping[str, FailureCode] = {"missing": "not_found", "silent": "broken", "memory": "broken"}
"""Codes of `StreamEnd` that aren't those of a failure."""
_NOT_FAILED = ("finished", "stopping")
_AGAIN = re.compile(r"; (?:connecting|it is (?:started|tried)) again.*")
"""End of a reason that says what an agent does next, which a trial doesn't do."""


class StreamObserver:
    """Runs the camera source of an agent, and reads what its decoder has found.

    Args:
        settings: Settings of the camera.
    """

    def __init__(self, settings: CameraSettings) -> None:
        self._settings = settings
        self._source: CameraSource | None = None
        self._began = time.monotonic()
        self._opened_s = 0.0

    def run(self, context: SourceContext) -> None:
        """Take frames until the context says to stop."""
        self._began = time.monotonic()
        self._source = CameraSource(self._settings, context)
        self._source.run()

    def has_failed(self) -> bool:
        """Return whether the first attempt to read the stream has failed; called every few milliseconds."""
        if not self._opened_s and self._source and self._source.opened:
            self._opened_s = time.monotonic() - self._began
        ended = self._source.ended if self._source else None
        return ended is not None and ended.code not in _NOT_FAILED

    def find_facts(self, arrivals: Sequence[float]) -> StreamFacts | None:
        """Return what was found in the stream; None when it wasn't opened.

        Args:
            arrivals: Times at which images came, seconds.
        """
        opened = self._source.opened if self._source else None
        if opened is None:
            return None
        interval_s = opened.key_interval_s
        if not interval_s and opened.decoding == "key" and len(arrivals) > 1 and not self._settings.every_s:
            interval_s = measure_interval(arrivals)
        return StreamFacts(
            codec=opened.codec,
            width=opened.width,
            height=opened.height,
            rate=opened.rate,
            decoding=opened.decoding,
            key_interval_s=interval_s,
            opened_s=min([self._opened_s, *arrivals[:1]]),
        )

    def find_failure(self, credentials: str) -> Failure | None:
        """Return why the first attempt to read the stream failed; None when it didn't.

        Args:
            credentials: Folder of the source's credentials; empty without one.
        """
        ended = self._source.ended if self._source else None
        if ended is None or ended.code in _NOT_FAILED:
            return None
        code = next((code for code in get_args(FailureCode) if code == ended.code), _CODES.get(ended.code, "failed"))
        reason, url = _AGAIN.sub("", ended.reason), self._settings.url
        if code == "refused_login" and not credentials and not _has_user(url):
            reason = "the camera asks for a login, and there is no user name"
        return build_failure(code, reason, kind="camera", place=redact(url), credentials=credentials)


def _has_user(url: str) -> bool:
    try:
        return bool(urlsplit(url).username)
    except ValueError:
        return False
