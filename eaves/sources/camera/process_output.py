"""Reading of both pipes of a process by one thread: its messages, and the last lines of its stderr."""

from __future__ import annotations

import io
import os
import select
import subprocess
from collections import deque

TAIL_LINES, LINE_BYTES = 100, 400
"""Maximum number of lines of stderr that are kept, and of the bytes of one."""
MAX_DRAINS = 64
"""Maximum number of reads of stderr after stdout has ended."""


class ProcessOutput(io.RawIOBase):
    """Stdout of a process as a stream. While it is read, stderr is read as well, and its last lines are kept."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None and process.stderr is not None  # noqa: S101, PT018 - they are pipes
        self.tail: deque[bytes] = deque(maxlen=TAIL_LINES)
        self._line = b""
        self._ended = False
        self._out, self._err = process.stdout.fileno(), process.stderr.fileno()
        self._poll = select.poll()
        self._poll.register(self._out, select.POLLIN)
        self._poll.register(self._err, select.POLLIN)

    def readable(self) -> bool:
        """Return that the stream can be read."""
        return True

    def readinto(self, buffer: object) -> int:
        """Read stdout into a buffer; return the number of bytes, 0 at the end."""
        while not self._ended:
            ready = {descriptor for descriptor, _ in self._poll.poll()}
            if self._err in ready:
                self._read_stderr()
            if self._out in ready:
                count = os.readv(self._out, [buffer])  # type: ignore[list-item]  # a writable buffer
                if not count:
                    self._ended = True
                    self._drain()
                return count
        return 0

    def _drain(self) -> None:
        """Read what a process that has ended wrote to stderr."""
        self._poll.unregister(self._out)
        for _ in range(MAX_DRAINS):
            if not self._poll.poll(0):
                return
            self._read_stderr()

    def _read_stderr(self) -> None:
        data = os.read(self._err, 4096)
        if not data:
            self._poll.unregister(self._err)
        *lines, rest = (self._line + data).split(b"\n")
        self.tail.extend(line[:LINE_BYTES] for line in lines)
        self._line = rest[:LINE_BYTES]
        if not data and rest:
            self.tail.append(self._line)
