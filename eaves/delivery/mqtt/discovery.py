"""Tells Home Assistant everything anew, at most so often, whoever asks for it how often."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from eaves.base.clock import SYSTEM, Clock
from eaves.mqtt import Acknowledgement

PAUSE_S = 10.0
"""Shortest time between two answers to requests, seconds. Home Assistant asks once, when it starts; whoever else may
publish to its topics may ask at any rate."""
LOOK_S = 60.0
"""Longest wait for a request, seconds."""


class DiscoveryPublisher:
    """A thread that tells everything, as one batch of messages, after it was asked to.

    A batch is handed over once the one before it is answered, so that memory holds one batch, however many requests
    come and however slow the broker is. Requests meanwhile count as one.

    Args:
        tell: Hands the messages over to the connection; returns the broker's answers.
        clock: Time.
    """

    def __init__(self, tell: Callable[[], Sequence[Future[Acknowledgement]]], *, clock: Clock = SYSTEM) -> None:
        self._tell = tell
        self._clock = clock
        self._changed = threading.Condition()
        self._asked = False
        self._at_once = False
        self._stopping = False
        self._pending = 0
        self._next_at = 0.0
        self._thread = threading.Thread(target=self._run, name="home-assistant", daemon=True)

    def start(self) -> None:
        """Answer requests from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no further request."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def is_alive(self) -> bool:
        """Whether requests are answered."""
        return self._thread.is_alive()

    def request(self, *, at_once: bool = False) -> None:
        """Have everything told anew; never waits.

        Args:
            at_once: Whether the pause is left out, as for a new connection: those come at a bounded rate. The next
                request is not kept waiting by it.
        """
        with self._changed:
            self._asked = True
            self._at_once = self._at_once or at_once
            self._changed.notify_all()

    def _run(self) -> None:
        while self._wait():
            sent = self._tell()
            with self._changed:
                self._pending = len(sent)
            for one in sent:
                one.add_done_callback(self._count)

    def _wait(self) -> bool:
        """Wait until it is time to tell; False when it is to stop."""
        with self._changed:
            while not self._stopping:
                left_s = self._left_s()
                if left_s <= 0:
                    if not self._at_once:
                        self._next_at = self._clock.monotonic() + PAUSE_S
                    self._asked = self._at_once = False
                    return True
                self._clock.wait(self._changed, left_s)
            return False

    def _left_s(self) -> float:
        if self._pending or not self._asked:
            return LOOK_S
        return 0.0 if self._at_once else self._next_at - self._clock.monotonic()

    def _count(self, _: Future[Acknowledgement]) -> None:
        with self._changed:
            self._pending -= 1
            self._changed.notify_all()
