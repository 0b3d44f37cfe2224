"""How long a wait for the parts of an app goes on while one of them is wrong."""

from __future__ import annotations

from collections.abc import Sequence

from knative.readiness.parts import AppPart

PATIENCE_S = 60.0
"""How long a part may be wrong for the same cause once the function is ready; a new Broker takes a few seconds."""


class WaitLimit:
    """Remembers since when parts are wrong, by the clock of whoever waits.

    Args:
        certain_s: Seconds after which a final cause counts: one look may see what is just being replaced.
        patience_s: Seconds after which any other cause counts, once the function is ready.
    """

    def __init__(self, *, certain_s: float, patience_s: float = PATIENCE_S) -> None:
        self._certain_s, self._patience_s = certain_s, patience_s
        self._since: dict[tuple[str, str], float] = {}

    def find_hopeless(self, parts: Sequence[AppPart], now: float, *, function_ready: bool) -> AppPart | None:
        """The first part that isn't worth waiting for; None while all of them are.

        A Trigger whose subscriber is the function can't be ready before the function is: until then only final causes
        count.

        Args:
            parts: Those that aren't ready.
            now: Seconds of a monotonic clock.
            function_ready: Whether the function is ready.
        """
        wrong = {
            (part.title, part.diagnosis.cause): part.diagnosis.final for part in parts if part.diagnosis is not None
        }
        self._since = {key: self._since.get(key, now) for key, final in wrong.items() if final or function_ready}
        for part in parts:
            if part.diagnosis is None or (since := self._since.get((part.title, part.diagnosis.cause))) is None:
                continue
            if now - since >= (self._certain_s if part.diagnosis.final else self._patience_s):
                return part
        return None
