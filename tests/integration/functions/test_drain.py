"""Leaving under load, again and again: whatever was sent is answered."""

from __future__ import annotations

import random
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException

import pytest

from tests.processes.function import Function, Start, raw_request, read_answer
from tests.waiting import wait_until

SENDERS = 8
ROUNDS = 100


class Senders:
    """Eight that send all the time, each on a connection while it is kept, then on another, until none is taken.

    Attributes:
        answered: When each answer came, by the monotonic clock.
        lost: When each request was wholly sent that had no answer.
    """

    def __init__(self, function: Function, image: bytes) -> None:
        self.answered: list[float] = []
        self.lost: list[float] = []
        self._function, self._request = function, raw_request(image)
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(SENDERS)
        self._running = [self._pool.submit(self._run) for _ in range(SENDERS)]

    def stop(self) -> None:
        self._stop.set()
        for running in self._running:
            running.result()
        self._pool.shutdown()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                sender = self._function.connect()
            except ConnectionError:
                return
            with sender:
                while self._send(sender):
                    pass

    def _send(self, sender: socket.socket) -> bool:
        """Whether the connection is kept."""
        try:
            sender.sendall(self._request)
            sent = time.monotonic()
        except ConnectionError:
            return False
        try:
            response, _ = read_answer(sender)
        except (ConnectionError, HTTPException):
            self.lost.append(sent)
            return False
        assert response.status == 200
        self.answered.append(time.monotonic())
        return response.headers["Connection"] != "close"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_nothing_is_lost_in_a_hundred_rounds(start: Start, image: bytes) -> None:
    chance, late = random.Random(5), 0
    for number in range(ROUNDS):
        function = start()
        function.wait_ready()
        senders = Senders(function, image)
        answers = chance.randint(1, 100)
        wait_until(lambda: len(senders.answered) >= answers, pause_s=0.001)  # noqa: B023 - called in this round
        signalled = time.monotonic()
        function.process.send_signal(signal.SIGTERM if number % 2 else signal.SIGINT)
        code, ended = function.process.wait(15), time.monotonic()
        senders.stop()
        assert code == 0, function.log
        # A connection that comes while the last of the listening socket is closed is reset: its sender tries again.
        assert [sent for sent in senders.lost if sent < signalled] == []
        late += len(senders.lost)
        assert ended - max(senders.answered) < 2
    assert late < ROUNDS / 10
