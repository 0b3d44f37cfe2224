"""Requests to a function that don't stop, so that a test sees whether any fails while things change."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from types import TracebackType

from eaves.errors import EavesError
from eaves.events import Event
from knative.platform import KnativePlatform
from tests.waiting import wait_until

PAUSE_S = 0.02


def ask_version(platform: KnativePlatform, name: str, event: Event) -> str:
    """Which version of the model answers; what went wrong where none does."""
    try:
        answer = platform.invoke(name, event)
    except EavesError as error:
        return f"failed: {error}"
    if answer.event is None:
        return f"failed: {answer.status} {answer.body[:200]!r}"
    return str(answer.event.extensions["modelversion"])


class Stream:
    """One request after another, each with an event of its own, from entering to leaving.

    Args:
        platform: Platform of the function.
        name: Name of the function.
        make_event: Subject to event.
    """

    def __init__(self, platform: KnativePlatform, name: str, make_event: Callable[[str], Event]) -> None:
        self._platform, self._name, self._make = platform, name, make_event
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stream")
        self.answers: list[str] = []

    def __enter__(self) -> Stream:
        self._thread.start()
        wait_until(lambda: self.answers, 120, what="the first answer")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def failed(self) -> list[str]:
        """What went wrong."""
        return [answer for answer in self.answers if answer.startswith("failed")]

    def count(self) -> Counter[str]:
        """Answers by version."""
        return Counter(self.answers)

    def more(self, count: int = 10) -> None:
        """Wait for so many further answers."""
        wanted = len(self.answers) + count
        wait_until(lambda: len(self.answers) >= wanted, 60, what=f"{count} more answers")

    def _run(self) -> None:
        while not self._stop.wait(PAUSE_S):
            event = self._make(f"stream-{len(self.answers)}.png")
            self.answers.append(ask_version(self._platform, self._name, event))
