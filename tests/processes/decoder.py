"""A real decoder as a child process, and its messages as the source gets them."""

import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from eaves.plugins.camera.messages import (
    Ended,
    Message,
    StreamFrame,
    StreamRequest,
    WireError,
    build_request,
    read_message,
)

COMMAND = (sys.executable, "-P", "-m", "eaves.plugins.camera.decoder")
ROOT = Path(__file__).parents[2]
M = TypeVar("M")


class Decoder:
    """A decoder that runs.

    Attributes:
        process: The child process.
        messages: Every message so far, in their order.
        errors: What wasn't a message.
    """

    def __init__(self, request: StreamRequest) -> None:
        self.process = subprocess.Popen(
            COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
        )
        assert self.process.stdin is not None
        self.process.stdin.write(build_request(request))
        self.process.stdin.flush()
        self.messages: list[Message] = []
        self.errors: list[str] = []
        self._max_bytes = 50_000_000
        self._unseen: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def next(self, kind: type[M], timeout_s: float = 15.0) -> M:
        """The next message of a kind; messages of other kinds before it are passed over.

        Raises:
            AssertionError: When the decoder ends without one, or none comes in time.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                message = self._unseen.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no {kind.__name__} within {timeout_s} s; {self._show()}") from None
            if isinstance(message, kind):
                return message
            if message is None:
                self._unseen.put(None)
                raise AssertionError(f"the decoder ended without {kind.__name__}; {self._show()}")

    def frames(self, count: int, timeout_s: float = 20.0) -> list[StreamFrame]:
        """The next frames."""
        return [self.next(StreamFrame, timeout_s) for _ in range(count)]

    def end(self, timeout_s: float = 30.0) -> Ended:
        """Why it ends, after the end of its process."""
        ended = self.next(Ended, timeout_s)
        assert self.process.wait(10) == 0
        return ended

    def stop(self) -> None:
        """End it, whatever it does."""
        self.process.kill()
        self.process.wait(10)
        for pipe in (self.process.stdin, self.process.stderr):
            if pipe is not None:
                pipe.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stream:
            try:
                while (message := read_message(stream, self._max_bytes)) is not None:
                    self.messages.append(message)
                    self._unseen.put(message)
            except WireError as error:
                self.errors.append(str(error))
        self._unseen.put(None)

    def _show(self) -> str:
        return f"messages: {[message for message in self.messages if not isinstance(message, StreamFrame)][-5:]}"


@contextmanager
def run_decoder(request: StreamRequest) -> Iterator[Decoder]:
    """A decoder that runs in the block."""
    decoder = Decoder(request)
    try:
        yield decoder
    finally:
        decoder.stop()
