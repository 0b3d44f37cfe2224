"""Writes messages to the parent without making the stream wait: of the frames only the newest waits to be written."""

from __future__ import annotations

import os
import threading
import traceback

from eaves.sources.camera.wire import Alive, DroppedFrames, Ended, Failed, Message, Opened, StreamFrame, build_message


class Output:
    """A thread that writes, and one place for each kind of message.

    A parent that doesn't read fills the pipe. If the stream weren't read either, the camera's buffers would fill, and
    all later frames would be late. So the stream is read on, and frames replace each other here, counted as `late`.

    Args:
        descriptor: Pipe to the parent.
        waits: Whether `put` waits until a frame is written, as for a file that isn't read at its own speed.
    """

    def __init__(self, descriptor: int, *, waits: bool = False) -> None:
        self._descriptor = descriptor
        self._waits = waits
        self._changed = threading.Condition()
        self._opened: Opened | None = None
        self._alive: Alive | None = None
        self._frame: StreamFrame | None = None
        self._dropped: dict[str, DroppedFrames] = {}
        self._last: Failed | Ended | None = None
        self._thread = threading.Thread(target=self._write, name="output", daemon=True)
        self._thread.start()

    def put(self, message: Opened | Alive | StreamFrame) -> None:
        """Hand over a message."""
        with self._changed:
            if isinstance(message, Opened):
                self._opened = message
            elif isinstance(message, Alive):
                self._alive = message
            else:
                while self._waits and self._frame is not None:
                    self._changed.wait()
                if self._frame is not None:
                    self._count("late", "")
                self._frame = message
            self._changed.notify_all()

    def drop(self, cause: str, reason: str = "") -> None:
        """Count a frame that was dropped."""
        with self._changed:
            self._count(cause, reason)
            self._changed.notify_all()

    def finish(self, message: Failed | Ended) -> None:
        """Write everything that waits and the last message."""
        with self._changed:
            self._last = message
            self._changed.notify_all()
        self._thread.join()

    def _count(self, cause: str, reason: str) -> None:
        earlier = self._dropped.get(cause)
        count = earlier.count + 1 if earlier else 1
        self._dropped[cause] = DroppedFrames(cause=cause, count=count, reason=reason)

    def _write(self) -> None:
        try:
            while True:
                messages = self._take()
                for message in messages:
                    self._write_all(build_message(message))
                if messages and isinstance(messages[-1], Failed | Ended):
                    return
        except Exception:  # noqa: BLE001 - without this thread the process would read the stream and send nothing
            traceback.print_exc()
            os._exit(1)

    def _take(self) -> list[Message]:
        with self._changed:
            while True:
                waiting = (self._opened, *self._dropped.values(), self._alive, self._frame, self._last)
                messages = [message for message in waiting if message is not None]
                if messages:
                    break
                self._changed.wait()
            self._opened = self._alive = self._frame = None
            self._dropped = {}
            self._changed.notify_all()
            return messages

    def _write_all(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError:
            os._exit(0)  # the parent has ended or closed the pipe, so nobody needs this process
