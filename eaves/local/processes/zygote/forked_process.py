"""A forked replica, as its parent `eaves up` sees it."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress

from eaves.local.processes.process import STOP_S

_POLL_S = 0.01


class ForkedProcess:
    """A child process that was forked by the zygote; implements `eaves.local.processes.process.Child`.

    Args:
        pid: Process id of the child. This process must be its parent.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._lock = threading.Lock()
        self._exit_code: int | None = None

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return self._pid

    @property
    def running(self) -> bool:
        """Whether the child has not ended."""
        return self.exit_code is None

    @property
    def exit_code(self) -> int | None:
        """Exit code of the child process, negative for a signal; None while it runs."""
        with self._lock:  # of two threads that wait at the same time, only one would get the exit code
            if self._exit_code is None:
                ended, status = os.waitpid(self._pid, os.WNOHANG)
                if ended:
                    self._exit_code = os.waitstatus_to_exitcode(status)
            return self._exit_code

    def terminate(self) -> None:
        """Ask the child process to finish its work and end; return immediately."""
        self._send(signal.SIGTERM)

    def stop(self, *, timeout_s: float = STOP_S) -> None:
        """Ask the child to finish, and kill it when it takes longer than `timeout_s` seconds."""
        self.terminate()
        deadline = time.monotonic() + timeout_s
        while self.running:
            if time.monotonic() >= deadline:
                self._send(signal.SIGKILL)
            time.sleep(_POLL_S)

    def _send(self, number: int) -> None:
        with self._lock, suppress(ProcessLookupError):
            if self._exit_code is None:  # otherwise the number may be another process's by now
                os.kill(self._pid, number)
