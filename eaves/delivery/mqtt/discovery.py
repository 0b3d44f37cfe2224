"""Publishing of all Home Assistant messages again on request, at a limited rate."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from eaves.base.clock import SYSTEM, Clock
from eaves.mqtt import Acknowledgement

PAUSE_S = 10.0
"""Minimum time between two publications on request, in seconds. Home Assistant asks once, when it starts; any other
client
that may publish to its topics can ask at any rate.
"""
LOOK_S = 60.0
"""Maximum time, in seconds, that the idle thread waits for a request before it checks again."""


class DiscoveryPublisher:
    """A thread that publishes all Home Assistant messages as one batch after a request.

    A batch is handed over when the previous one was answered, so that memory holds one batch at most, however many
    requests arrive and however slow the broker is. Requests that arrive meanwhile count as one.

    Args:
        publish: Function that hands the messages over to the connection and returns the broker's acknowledgements.
        clock: Clock for monotonic time.
    """

    def __init__(self, publish: Callable[[], Sequence[Future[Acknowledgement]]], *, clock: Clock = SYSTEM) -> None:
        self._publish = publish
        self._clock = clock
        self._changed = threading.Condition()
        self._asked = False
        self._at_once = False
        self._stopping = False
        self._pending = 0
        self._next_at = 0.0
        self._thread = threading.Thread(target=self._run, name="home-assistant", daemon=True)

    def start(self) -> None:
        """Start to handle requests."""
        self._thread.start()

    def stop(self) -> None:
        """Stop handling requests."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def is_alive(self) -> bool:
        """Return whether requests are handled."""
        return self._thread.is_alive()

    def request(self, *, at_once: bool = False) -> None:
        """Request that all messages are published again; never wait.

        Args:
            at_once: Whether to publish without the pause of `PAUSE_S`, and without delaying the next request. It suits
                a new connection, because new connections come at a limited rate anyway.
        """
        with self._changed:
            self._asked = True
            self._at_once = self._at_once or at_once
            self._changed.notify_all()

    def _run(self) -> None:
        while self._wait():
            sent = self._publish()
            with self._changed:
                self._pending = len(sent)
            for one in sent:
                one.add_done_callback(self._count)

    def _wait(self) -> bool:
        """Wait until it is time to publish; return False when the thread must stop."""
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
