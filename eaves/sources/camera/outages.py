"""Outages of a camera: the times of the next attempts.

A camera that is away for a minute is back within seconds of its return, one that is away for a month costs one attempt
a minute, and a camera that refuses the password isn't asked so often that it locks the account. A source never stops
trying.
"""

from __future__ import annotations

from collections.abc import Mapping

from eaves.base.backoff import Backoff
from eaves.sources.camera.wire import EndCode

SHORT_OUTAGE_S = 120.0
"""Length of an outage up to which attempts are at most `SHORT` apart, seconds: a camera that restarts takes a minute or
two."""
SHORT = Backoff(retry=None, first_s=0.5, cap_s=3.0)
"""Times between the starts of two attempts in a short outage. They are short enough that a camera is back within 5
seconds of its return."""
LONG_CAP_S = 60.0
"""Maximum time between the starts of two attempts in a longer outage, seconds."""
GROWTH = 0.1
"""Share of an outage's length that may pass between two attempts, up to `LONG_CAP_S`. A camera that is back after 5
minutes is found within 30 seconds."""
MINIMUM_S = 0.25
"""Minimum pause after the end of an attempt, seconds."""
STEADY_S = 10.0
"""Time that a stream must last, seconds, so that the next attempt after its end is made at once. The pauses grow after
shorter ones, because a camera may end each connection after one frame."""
FIXED_S: Mapping[EndCode, float] = {"refused_login": 300.0, "missing_library": 60.0}
"""Times until the next attempt that don't depend on the outage's length, seconds. Many cameras lock an account after
five wrong passwords within some minutes."""


class Reconnection:
    """Back-off of one stream; all times are monotonic, in seconds."""

    def __init__(self) -> None:
        self._failures = 0
        self._outage_began_s: float | None = None
        self._stream_began_s: float | None = None

    def received(self, now_s: float) -> None:
        """Note that a frame arrived, which ends the outage."""
        self._outage_began_s = None
        if self._stream_began_s is None:
            self._stream_began_s = now_s
        if now_s - self._stream_began_s >= STEADY_S:
            self._failures = 0

    def failed(self, code: EndCode, *, began_s: float, now_s: float, jitter: float) -> float:
        """Note that an attempt or a stream ended, and return the time of the next attempt.

        Args:
            code: Why it ended.
            began_s: Time at which the attempt began.
            now_s: Current time.
            jitter: Random number in [0, 1), so that many cameras don't connect at the same time.
        """
        streamed = self._stream_began_s is not None
        if streamed:
            self.received(now_s)
        self._stream_began_s = None
        self._failures += 1
        if self._outage_began_s is None:
            self._outage_began_s = now_s
        if code in FIXED_S:
            return now_s + FIXED_S[code] * (1.0 + 0.1 * jitter)
        outage_s = now_s - self._outage_began_s
        pauses = SHORT
        if outage_s > SHORT_OUTAGE_S and code != "missing":  # to look for a device or a file costs nothing
            pauses = Backoff(retry=None, first_s=SHORT.cap_s, cap_s=min(LONG_CAP_S, GROWTH * outage_s))
        pause_s = pauses.pause_s(self._failures, jitter=jitter)
        return max(now_s + MINIMUM_S, (now_s if streamed else began_s) + pause_s)
