"""The decoder as a process, `python -P -m eaves.plugins.camera.decoder`: a request on stdin, messages on stdout.

It ends with the stream, and with its parent.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import sys
import threading
import traceback

from eaves.plugins.camera.messages import (
    DropCause,
    DroppedFrames,
    Ended,
    Message,
    StreamRequest,
    build_message,
    parse_request,
)

CLOSE_S = 0.5
"""Seconds that closing the stream may take after SIGTERM; a camera that is asked to end the stream does so at once."""


def begin() -> int:
    """Set up the process, and return a private descriptor of stdout, where no library writes between messages."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})  # the agent's main thread blocks both
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold the password
    descriptor = os.dup(1)
    os.dup2(2, 1)
    return descriptor


def limit_memory(max_bytes: int) -> None:
    """Limit the memory that the process may allocate, so that no stream takes more between two looks of the parent.

    The limit counts private memory that can be written; PyAV's libraries, 80 MB of address space, are mapped files.
    Source: setrlimit(2), RLIMIT_DATA.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = max_bytes if hard == resource.RLIM_INFINITY else min(hard, max_bytes)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


class StopSignal:
    """Ends the process after SIGTERM, and when the parent closes its stdin.

    A library may hold the main thread without end, so another thread waits for both. After SIGTERM the main thread has
    `CLOSE_S` seconds to close the stream.
    """

    def __init__(self) -> None:
        self.received = False
        read, write = os.pipe()
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, lambda *_: None)  # the descriptor above gets the signal, whatever runs
        threading.Thread(target=self._watch, args=(read,), name="stop", daemon=True).start()

    def _watch(self, wakeup: int) -> None:
        while True:
            ready, _, _ = select.select([0, wakeup], [], [])
            if wakeup in ready:
                self.received = True
                threading.Event().wait(CLOSE_S)
                os._exit(0)
            if not os.read(0, 4_096):
                os._exit(0)


class Output:
    """Writes messages to the parent, whose thread reads them at once and keeps the newest frame.

    Args:
        descriptor: Pipe to the parent.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def put(self, message: Message) -> None:
        """Write a message."""
        view = memoryview(build_message(message))
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError:
            os._exit(0)  # the parent has ended or closed the pipe, so nobody needs this process

    def drop(self, cause: DropCause, reason: str = "") -> None:
        """Say that a frame was dropped."""
        self.put(DroppedFrames(cause=cause, reason=reason))


def main() -> None:
    """Run the decoder."""
    descriptor = begin()
    line = sys.stdin.buffer.readline()
    if not line:
        return
    request = parse_request(line)
    stop = StopSignal()
    limit_memory(request.max_memory_bytes)
    output = Output(descriptor)
    last = _read(request, output, stop)
    if last is not None:
        output.put(last)


def _read(request: StreamRequest, output: Output, stop: StopSignal) -> Ended | None:
    """Read the stream and return the last message; None after SIGTERM."""
    try:
        from eaves.plugins.camera.decoder_reading import read_stream
    except ImportError as error:
        is_absent = isinstance(error, ModuleNotFoundError) and error.name == "av"
        reason = "is not installed: python -m pip install av" if is_absent else f"can't be loaded: {error}"
        return Ended(code="missing_library", message=f"PyAV {reason}")
    return read_stream(request, output, stop)


if __name__ == "__main__":
    status = 1
    try:
        main()
        status = 0
    except Exception:  # noqa: BLE001
        traceback.print_exc()
    os._exit(status)  # libraries that still hold the stream can't delay or crash the end
