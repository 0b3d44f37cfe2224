"""The first steps of a process: its listening socket, and the times at which the steps of its start ended.

The socket is opened before anything slow is imported. The kernel accepts connections from then on, so a sender or a
readiness probe waits for its answer. Otherwise it would be refused and try again later; Knative's queue-proxy does so
every 50 ms. Source: knative/serving, pkg/queue/readiness/probe.go.
"""

from __future__ import annotations

import importlib
import logging
import signal
import socket
import time
from collections.abc import Callable
from types import FrameType

from eaves.errors import StartError

_log = logging.getLogger(__name__)


class StartTiming:
    """Record of when each step of one start ended, in milliseconds since exec; create it before any other work.

    The main thread and the thread that loads the model both take steps. `--timing` logs them.
    """

    def __init__(self) -> None:
        # The kernel records a process's start to 10 ms only. Until here one thread worked without waiting, so its CPU
        # time is the time since exec.
        self._origin = time.perf_counter() - time.process_time()
        self._moments: dict[str, float] = {}
        self._is_logged = False
        self.mark("interpreter")

    def mark(self, stage: str) -> None:
        """Record that the calling thread has finished a stage, such as `import numpy`, for the first time."""
        self._moments.setdefault(stage, time.perf_counter())

    def import_modules(self, *names: str) -> None:
        """Import modules one by one, and record each import as a stage."""
        for name in names:
            importlib.import_module(name)
            self.mark(f"import {name}")

    def log_once(self, stage: str) -> None:
        """Record the last stage, and log when each one ended; later calls do nothing."""
        if not self._is_logged:
            self._is_logged = True
            self.mark(stage)
            ended_ms = {name: round((moment - self._origin) * 1000, 1) for name, moment in self._moments.copy().items()}
            lines = "\n".join(f"{at_ms:8.1f}  {stage}" for stage, at_ms in ended_ms.items())
            _log.info("the steps of the start ended after so many ms:\n%s", lines, extra={"start_ms": ended_ms})


STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
"""Signals that ask a function to end. From the opening of its socket on it answers accepted requests before it ends."""


class ShutdownRequest:
    """Whether the process has been asked to end, by one of STOP_SIGNALS.

    The handler takes no lock, not even that of an Event: the next signal may interrupt it while it holds the lock, and
    would wait for ever. The supervisor sends two signals, one after the other.

    Attributes:
        asked: Whether a signal has come.
        wake: Function that ends a wait of the main thread, called after each signal.
    """

    def __init__(self) -> None:
        self.asked = False
        self.wake: Callable[[], object] = lambda: None

    def handle_signals(self) -> None:
        """Handle the signals from now on."""
        for number in STOP_SIGNALS:
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        self.wake()


BACKLOG = 1024
"""Maximum number of connections that wait in the kernel until the server accepts them; waitress has the same limit."""


def open_listening_socket(host: str, port: int) -> socket.socket:
    """Return a TCP socket that listens at an address.

    Args:
        host: Name or IP address to listen on.
        port: TCP port; 0 chooses a free one.

    Raises:
        StartError: When the address can't be listened on.
    """
    try:
        # Python encodes text with its codec for international names, whose import takes 2 ms.
        name = host.encode() if host.isascii() else host
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listening.bind(address)
            listening.listen(BACKLOG)
        except OSError:
            listening.close()
            raise
    except (OSError, UnicodeError) as error:  # a host that is too long can't be encoded
        raise StartError(f"can't listen on {host}:{port}: {error}", hint="choose another --host or --port") from error
    return listening
