"""Writes messages to the parent without making the stream wait: of the frames only the newest waits to be written."""

from __future__ import annotations

import os
import threading
import traceback

from eaves.sources.camera.wire import Alive, DroppedFrames, Ended, Failed, Message, Opened, StreamFrame, build_message
from eaves.sources.frame import Cause

_ORDER = (Opened, Alive, StreamFrame, Failed, Ended)


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
        self._waiting: dict[type[Message], Message] = {}
        self._dropped: dict[Cause, DroppedFrames] = {}
        self._thread = threading.Thread(target=self._write, name="output", daemon=True)
        self._thread.start()

    def put(self, message: Message) -> None:
        """Hand over a message, in place of one of its kind."""
        with self._changed:
            if isinstance(message, StreamFrame) and StreamFrame in self._waiting:
                while self._waits and StreamFrame in self._waiting:
                    self._changed.wait()
                if StreamFrame in self._waiting:
                    self.drop("late")
            self._waiting[type(message)] = message
            self._changed.notify_all()

    def drop(self, cause: Cause, reason: str = "") -> None:
        """Count a frame that was dropped."""
        with self._changed:
            count = self._dropped[cause].count + 1 if cause in self._dropped else 1
            self._dropped[cause] = DroppedFrames(cause=cause, count=count, reason=reason)
            self._changed.notify_all()

    def finish(self, message: Failed | Ended) -> None:
        """Write everything that waits and the last message."""
        self.put(message)
        self._thread.join()

    def _write(self) -> None:
        last: Message | None = None
        try:
            while not isinstance(last, Failed | Ended):
                with self._changed:
                    self._changed.wait_for(lambda: self._waiting or self._dropped)
                    waiting, dropped = self._waiting, self._dropped
                    self._waiting, self._dropped = {}, {}
                    self._changed.notify_all()
                for last in (*dropped.values(), *(waiting[kind] for kind in _ORDER if kind in waiting)):
                    self._write_all(build_message(last))
        except Exception:  # noqa: BLE001 - without this thread the process would read the stream and send nothing
            traceback.print_exc()
            os._exit(1)

    def _write_all(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError:
            os._exit(0)  # the parent has ended or closed the pipe, so nobody needs this process
