"""`eaves up` on a real terminal at 500 predictions a second: each is shown or counted, and no event waits for it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import statistics
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest

from eaves.cli.live import MAX_WAITING
from eaves.events import IMAGE_CLASSIFIED, Event, encode_structured
from tests.waiting import wait_until

RATE = 500
"""Predictions a second, as the finding asks."""
ROUNDS = 8
A_ROUND = 250


class Terminal:
    """`eaves up` with a terminal of 80 columns as its stdout, which this test reads or leaves full."""

    def __init__(self, state: Path, *flags: str) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.reading = threading.Event()
        self.reading.set()
        self._ended = threading.Event()
        self._turn = threading.Lock()
        self._text = b""
        self.stderr = state.with_suffix(".stderr")
        with self.stderr.open("wb") as stderr:
            command = [sys.executable, "-P", "-m", "eaves.cli", "up", "--port", "0", "--state", str(state), *flags]
            self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=stderr)
        os.close(slave)
        self._thread = threading.Thread(target=self._read)
        self._thread.start()
        self._broker: HTTPConnection | None = None
        try:
            (address, *_) = wait_until(lambda: re.findall(r"http://([0-9.:]+)/", self.text), 60, what="the address")
            self._broker = HTTPConnection(address, timeout=60)
        except BaseException:
            self.close()
            raise

    @property
    def text(self) -> str:
        """What the terminal has shown."""
        return self._text.decode()

    def _read(self) -> None:
        while not self._ended.is_set():
            self.reading.wait(0.1)
            with self._turn:
                if self.reading.is_set() and select.select([self._master], [], [], 0.05)[0]:
                    try:
                        self._text += os.read(self._master, 65_536)
                    except OSError:  # the process has ended
                        return

    def pause(self) -> None:
        """Stop reading; nothing is read after this returns."""
        self.reading.clear()
        with self._turn:
            pass

    def publish(self, first: int, count: int) -> list[float]:
        """Publish predictions at `RATE`, or as fast as they are taken; return the milliseconds of each answer."""
        assert self._broker is not None
        times = []
        begin = time.monotonic()
        for number in range(count):
            headers, body = encode_structured(
                Event(
                    id=str(first + number), source="/eaves/home/flowers", type=IMAGE_CLASSIFIED,
                    subject=f"{first + number}.jpg", datacontenttype="application/json",
                    data=b'{"predictions": [{"label": "roses", "score": 0.93}]}', extensions={"causeid": "c"},
                )
            )  # fmt: skip
            time.sleep(max(0.0, begin + number / RATE - time.monotonic()))
            sent = time.perf_counter()
            self._broker.request("POST", "/", body, headers)
            answer = self._broker.getresponse()
            answer.read()
            times.append((time.perf_counter() - sent) * 1000)
            assert answer.status == 202
        return times

    def count(self) -> tuple[int, int]:
        """Return how many predictions the terminal has shown, and how many it was reported to have missed."""
        lines = self.text.replace("\r", "").splitlines()
        missed = [line for line in lines if "predictions are not shown" in line]
        shown = {line.split()[-1] for line in lines if line.endswith(".jpg")}
        return len(shown), sum(int(line[1:].split()[0].replace(",", "")) for line in missed)

    def stop(self) -> float:
        """End it as Ctrl-C does; return the seconds that it took."""
        begin = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(60) == 0
        return time.monotonic() - begin

    def close(self) -> None:
        """Kill what still runs, and close the terminal."""
        self._ended.set()
        self.reading.set()
        if self._broker is not None:
            self._broker.close()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(60)
        self._thread.join(30)
        os.close(self._master)


@contextmanager
def open_terminal(state: Path, *flags: str) -> Iterator[Terminal]:
    state.mkdir()
    terminal = Terminal(state, *flags)
    try:
        yield terminal
    finally:
        terminal.close()


@pytest.mark.timeout(300)
def test_each_of_500_predictions_a_second_is_shown_or_counted(tmp_path: Path) -> None:
    with open_terminal(tmp_path / "state") as terminal:
        terminal.publish(0, 2 * RATE)
        wait_until(lambda: sum(terminal.count()) == 2 * RATE, 60, what="each prediction, shown or counted")
        assert terminal.count()[0] > RATE, "a terminal that is read shows most of them"
        line = next(line for line in terminal.text.replace("\r", "").splitlines() if line.endswith(" 7.jpg"))
        assert line.split()[1:] == ["flowers", "roses", "0.93", "7.jpg"]
        terminal.stop()


@pytest.mark.timeout(300)
def test_a_terminal_that_takes_nothing_slows_no_event_and_counts_what_it_misses(tmp_path: Path) -> None:
    """Two platforms get the same events in turn, so that whatever else this machine does meets both."""
    with open_terminal(tmp_path / "full") as full, open_terminal(tmp_path / "quiet", "--quiet") as quiet:
        full.pause()
        medians: dict[str, list[float]] = {"full": [], "quiet": []}
        for number in range(ROUNDS):
            medians["full"].append(statistics.median(full.publish(number * A_ROUND, A_ROUND)))
            medians["quiet"].append(statistics.median(quiet.publish(number * A_ROUND, A_ROUND)))
        assert sum(full.count()) == 0
        ratios = [one / other for one, other in zip(medians["full"], medians["quiet"], strict=True)]
        assert statistics.median(ratios) < 1.5, medians
        full.reading.set()
        wait_until(lambda: sum(full.count()) == ROUNDS * A_ROUND, 60, what="each prediction, shown or counted")
        shown, missed = full.count()
        assert missed > 0
        assert shown >= MAX_WAITING
        assert quiet.count() == (0, 0)
        full.pause()
        full.publish(ROUNDS * A_ROUND, A_ROUND)
        assert full.stop() < 20, "a terminal that takes nothing doesn't keep the platform from ending"
