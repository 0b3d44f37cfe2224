"""The time limits after which a wait for an app's parts ends because of a fault."""

from __future__ import annotations

from collections.abc import Sequence

from knative.readiness.parts import UNSEEN, AppPart

PATIENCE_S = 60.0
"""Maximum seconds that a part may have the same fault once the function is ready; a new Broker takes a few seconds to
become ready."""


class WaitLimit:
    """Decides when a wait for the parts of an app ends because a part keeps its fault.

    The durations are measured with the waiting process's own clock.

    Args:
        certain_s: Seconds after which the wait ends because of a fault that does not go away by itself
            (`Diagnosis.final`). One read of the part is not enough, because it may show a pod that is just being
            replaced.
        patience_s: Seconds after which the wait ends because of any other fault, counted once the function is ready.
    """

    def __init__(self, *, certain_s: float, patience_s: float = PATIENCE_S) -> None:
        self._certain_s, self._patience_s = certain_s, patience_s
        self._since: dict[tuple[str, str], float] = {}

    def find_hopeless(self, parts: Sequence[AppPart], now: float, *, function_ready: bool) -> AppPart | None:
        """Return the first part that has had its fault for longer than the limit; None when there is none.

        A Trigger whose subscriber is the function can't be ready before the function is. Until the function is ready,
        only faults that do not go away by themselves (`Diagnosis.final`) are considered. A part whose controller hasn't
        processed its last change is never hopeless, because its conditions are those of an earlier time.

        Args:
            parts: Parts that aren't ready.
            now: Seconds of a monotonic clock.
            function_ready: Whether the function is ready.
        """
        wrong = {
            (part.title, part.diagnosis.cause): part.diagnosis.final
            for part in parts
            if part.diagnosis is not None and part.diagnosis.cause != UNSEEN
        }
        self._since = {key: self._since.get(key, now) for key, final in wrong.items() if final or function_ready}
        for part in parts:
            if part.diagnosis is None or (since := self._since.get((part.title, part.diagnosis.cause))) is None:
                continue
            if now - since >= (self._certain_s if part.diagnosis.final else self._patience_s):
                return part
        return None
