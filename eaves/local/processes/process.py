"""Child processes of the platform: each is started like a container, watched, and stopped in order."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

from eaves.base.backoff import Backoff
from eaves.base.clock import Clock
from eaves.base.telemetry import TELEMETRY_OFF
from eaves.http_client import proxies, trust

HOST = "127.0.0.1"
"""Address that functions and relays listen on."""
STOP_S = 10.0
"""Default time that a process has to finish its accepted work before it is killed, seconds."""
INHERITED = (
    *("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"),
    *(*proxies.VARIABLES, *trust.VARIABLES),
)
"""Names of the supervisor's environment variables that a child process gets: paths of programs and temporary files, the
time zone, the CPU type that OpenBLAS computes for, and proxies and certificate authorities, through which a function
fetches datarefs. All other variables come from the child's spec, as in a container."""


class Child(Protocol):
    """A child process, running or ended."""

    @property
    def pid(self) -> int:
        """Process id of the child."""

    @property
    def running(self) -> bool:
        """Whether the child has not ended."""

    @property
    def exit_code(self) -> int | None:
        """Exit code of the child process, negative for a signal; None while it runs."""

    def terminate(self) -> None:
        """Ask the child process to finish its work and end; return immediately."""

    def stop(self, *, timeout_s: float = STOP_S) -> None:
        """Ask the child to finish, and kill it when it takes longer than `timeout_s` seconds."""


class Launch(Protocol):
    """Starts a child process; `Process` is the real implementation."""

    def __call__(
        self,
        module: str,
        environ: Mapping[str, str],
        log: Path,
        *,
        inherit: Mapping[str, str],
        arguments: Sequence[str] = (),
        pass_fds: Sequence[int] = (),
    ) -> Child:
        """Start `python -P -m MODULE` with an environment and a log; see `Process` for the arguments."""


class Process:
    """A running child process, whose output goes to a log file.

    Args:
        module: Module that is started as `python -P -m MODULE`.
        environ: Environment variables of the process, in addition to those in `INHERITED`.
        log: Path of the log file, which is appended to.
        inherit: Environment from which the variables in `INHERITED` are copied.
        arguments: Arguments after the module's name.
        pass_fds: File descriptors that the process inherits with their numbers, such as that of a listening socket.
    """

    def __init__(
        self,
        module: str,
        environ: Mapping[str, str],
        log: Path,
        *,
        inherit: Mapping[str, str],
        arguments: Sequence[str] = (),
        pass_fds: Sequence[int] = (),
    ) -> None:
        with open_log(log) as stream:
            self._child = subprocess.Popen(
                [*_die_with_parent(), sys.executable, "-P", "-m", module, *arguments],
                env=build_environ(environ, inherit),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                pass_fds=tuple(pass_fds),
                start_new_session=True,  # Ctrl-C reaches only the supervisor, which stops its children in order
            )

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether the child has not ended."""
        return self._child.poll() is None

    @property
    def exit_code(self) -> int | None:
        """Exit code of the child process, negative for a signal; None while it runs."""
        return self._child.poll()

    def terminate(self) -> None:
        """Ask the child process to finish its work and end; return immediately."""
        with contextlib.suppress(ProcessLookupError):
            self._child.terminate()

    def stop(self, *, timeout_s: float = STOP_S) -> None:
        """Ask the child to finish, and kill it when it takes longer than `timeout_s` seconds."""
        self.terminate()
        try:
            self._child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()


def build_environ(environ: Mapping[str, str], inherit: Mapping[str, str]) -> dict[str, str]:
    """Return the whole environment of a child process; see `Process` for the arguments."""
    kept = {name: inherit[name] for name in INHERITED if name in inherit}
    return {**TELEMETRY_OFF, **kept, **environ}


def open_log(log: Path) -> BinaryIO:
    """Open the log file of a child process for appending, and make its directory."""
    log.parent.mkdir(mode=0o700, exist_ok=True)
    return log.open("ab")


def _die_with_parent() -> list[str]:
    """Return the beginning of a command line with which the kernel ends the child when the supervisor dies.

    Without it, a child of a killed supervisor would keep its port and its model in memory. The kernel watches the
    thread that started the child, so that thread must not end before the child.

    Source: prctl(2), PR_SET_PDEATHSIG; setpriv(1) of util-linux, which every Debian has.
    """
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    return [setpriv, "--pdeathsig", "TERM"] if setpriv else []


def find_free_port() -> int:
    """Return a port that no process listens on at present.

    Raises:
        OSError: When no port is free.
    """
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class Failures:
    """Counts consecutive failures of a part of the platform; the pauses between attempts grow with the count.

    Attributes:
        count: Number of consecutive failures.
        reason: Reason of the last failure; empty without one.
    """

    def __init__(self, backoff: Backoff, clock: Clock) -> None:
        self.count = 0
        self.reason = ""
        self._backoff = backoff
        self._clock = clock
        self._not_before = 0.0

    def note(self, reason: str) -> float:
        """Count a failure and return the seconds until the next attempt is due."""
        self.count += 1
        self.reason = reason
        pause_s = self._backoff.pause_s(self.count)
        self._not_before = self._clock.monotonic() + pause_s
        return pause_s

    def clear(self) -> None:
        """Set the number of failures to 0 after a success."""
        self.count, self.reason, self._not_before = 0, "", 0.0

    def due(self) -> bool:
        """Return whether the next attempt is due."""
        return not self.reason or self._clock.monotonic() >= self._not_before


def describe_exception(error: Exception) -> str:
    """Return an exception's message for people; its type when the message is empty or can't be read."""
    try:
        return str(error) or type(error).__name__
    except Exception:  # noqa: BLE001 - handling an error must not raise another
        return type(error).__name__
