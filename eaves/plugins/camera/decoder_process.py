"""The decoder's process as its parent sees it: started, read by a thread, and ended, whatever it does.

The process is started with `python -P -m`, without the environment of the agent, which may hold addresses and tokens.
Its request with the password goes through stdin, so that `ps` doesn't show it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial

from eaves.base.clock import Clock
from eaves.plugins.camera.messages import (
    DropCause,
    DroppedFrames,
    Ended,
    Message,
    Opened,
    StreamFrame,
    StreamRequest,
    WireError,
    build_request,
    read_message,
)

DECODER = (sys.executable, "-P", "-m", "eaves.plugins.camera.decoder")
"""Command of the decoder."""
TERM_S = 2.0
"""Time between SIGTERM and SIGKILL, seconds. A decoder that is asked to end closes its stream at the camera, of which
many allow a few streams only."""
OVER_S = 0.2
"""Time between the end of the output of a process and SIGTERM, seconds: it may be about to end by itself."""
KILLED_S = 2.0
"""Time that a killed process may take to end, seconds. One that hangs in the kernel, in a driver or on a network
folder, takes longer."""
TAIL_BYTES = 4_096
"""Maximum size of the end of stderr that is kept, bytes."""
PIPE_BYTES = 65_536
"""Size of the buffer of stdout, bytes."""


class DecoderProcess:
    """A decoder that runs.

    It holds one frame at most. A newer frame replaces it, so a slow disk makes frames late and takes no memory.

    Args:
        request: What it has to read.
        clock: Clock of the times at which messages arrive.
        dropped: Called by `take` with the frames that were dropped since the last call, once for each cause. The thread
            that reads doesn't call it: a source that hangs must not seem alive because frames arrive.
        command: Command that starts it.

    Attributes:
        pid: Process id.
        opened: What the decoder found in the stream; None until the stream is open.
        last: Why the decoder ends; None when it hasn't said so.
        fault: Why what it wrote isn't a message; empty when everything was.
        tail: The last lines that it wrote to stderr.
        last_data_s: Monotonic time at which the last message arrived, seconds.
        over: Whether its output has ended.

    Raises:
        OSError: When the process can't be started.
    """

    def __init__(
        self,
        request: StreamRequest,
        *,
        clock: Clock,
        dropped: Callable[[DroppedFrames], None],
        command: Sequence[str] = DECODER,
    ) -> None:
        self.opened: Opened | None = None
        self.last: Ended | None = None
        self.fault, self.tail, self.over = "", b"", False
        self.last_data_s = clock.monotonic()
        self._clock, self._max_bytes, self._report = clock, request.max_bytes, dropped
        self._news = threading.Condition()
        self._woken = False
        self._frame: StreamFrame | None = None
        self._dropped: dict[DropCause, DroppedFrames] = {}
        self._process = subprocess.Popen(
            command,
            env=build_environ(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=PIPE_BYTES,
            start_new_session=True,  # Ctrl-C reaches only the agent, which ends its decoders
        )
        self.pid = self._process.pid
        self._threads = [
            threading.Thread(target=read, name=f"decoder-{self.pid}", daemon=True)
            for read in (self._read, self._read_stderr)
        ]
        for thread in self._threads:
            thread.start()
        self._send(build_request(request))

    @property
    def exit_status(self) -> str:
        """How the process ended, once `end` has returned True."""
        code = self._process.returncode
        return f"was ended by signal {-code}" if code is not None and code < 0 else f"ended with exit code {code}"

    def take(self, timeout_s: float) -> StreamFrame | None:
        """Wait for a frame or other news for at most `timeout_s` seconds; return the newest frame, None without one."""
        deadline = self._clock.monotonic() + timeout_s
        with self._news:
            while not (self._frame or self._woken) and (left_s := deadline - self._clock.monotonic()) > 0:
                self._clock.wait(self._news, left_s)
            frame, self._frame, self._woken = self._frame, None, False
            dropped, self._dropped = self._dropped, {}
        for one in dropped.values():
            self._report(one)
        return frame

    def terminate(self) -> None:
        """Ask the process to end, without waiting for it, and let `take` return. May be called from any thread."""
        if self._process.poll() is None:
            self._signal(signal.SIGTERM)
        self._wake()

    def end(self, term_s: float = TERM_S) -> bool:
        """End the process, whatever it does, and release everything that it used.

        Args:
            term_s: Time that it gets after SIGTERM, seconds.

        Returns:
            Whether it has ended. One that hangs in the kernel hasn't; the call is to be repeated later.
        """
        for number, timeout_s in (
            (0, OVER_S if self.over else 0.0),
            (signal.SIGTERM, term_s),
            (signal.SIGKILL, KILLED_S),
        ):
            self._signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout_s)
                break
        else:
            return False
        self._signal(signal.SIGKILL)  # for what it started, which would hold its pipes open
        for thread in self._threads:
            thread.join(KILLED_S)
        if any(thread.is_alive() for thread in self._threads):
            return False
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        return True

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def _send(self, request: bytes) -> None:
        """Write the request into the pipe, which has room for it; a decoder that never reads it blocks nothing."""
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        os.set_blocking(self._process.stdin.fileno(), False)
        with contextlib.suppress(BrokenPipeError, BlockingIOError):  # an incomplete request ends the decoder
            os.write(self._process.stdin.fileno(), request)

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        try:
            while (message := read_message(self._process.stdout, self._max_bytes)) is not None:
                self.last_data_s = self._clock.monotonic()
                self._receive(message)
        except WireError as error:
            self.fault = str(error)
        except MemoryError:
            self.fault = "there is no memory for a message of the decoder"
        finally:
            self.over = True
            self._wake()

    def _receive(self, message: Message) -> None:
        if isinstance(message, StreamFrame):
            with self._news:
                if self._frame is not None:
                    self._count(DroppedFrames(cause="late"))
                self._frame = message
                self._news.notify()
        elif isinstance(message, DroppedFrames):
            with self._news:
                self._count(message)
        elif isinstance(message, Opened):
            self.opened = message
            self._wake()
        elif isinstance(message, Ended):
            self.last = message

    def _read_stderr(self) -> None:
        assert self._process.stderr is not None  # noqa: S101 - it is a pipe
        for data in iter(partial(self._process.stderr.read1, PIPE_BYTES), b""):  # type: ignore[attr-defined]
            self.tail += data
            if len(self.tail) > TAIL_BYTES:  # without a part of a line, which may begin within a password
                self.tail = self.tail[-TAIL_BYTES:].partition(b"\n")[2]

    def _count(self, new: DroppedFrames) -> None:
        count = new.count + (self._dropped[new.cause].count if new.cause in self._dropped else 0)
        self._dropped[new.cause] = DroppedFrames(cause=new.cause, count=count, reason=new.reason[:256])

    def _wake(self) -> None:
        with self._news:
            self._woken = True
            self._news.notify()


def build_environ() -> dict[str, str]:
    """Return the whole environment of a decoder: nothing of the agent's but what Python needs."""
    return {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
