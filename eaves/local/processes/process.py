"""Child processes of the platform: each is started like a container, watched, started again and stopped in order."""

from __future__ import annotations

import contextlib
import logging
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from eaves.base.backoff import Backoff
from eaves.base.clock import SYSTEM, Clock
from eaves.base.telemetry import TELEMETRY_OFF
from eaves.http_client import proxies, trust
from eaves.local.state import StateDirectory

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
KUBECONFIG = "KUBECONFIG"
"""Name of the variable that names the kubeconfig, which only the console's process gets, for its jobs."""

_log = logging.getLogger(__name__)


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
        kept = {name: inherit[name] for name in INHERITED if name in inherit}
        log.parent.mkdir(mode=0o700, exist_ok=True)
        with log.open("ab") as stream:
            self._child = subprocess.Popen(
                [*die_with_parent(), sys.executable, "-P", "-m", module, *arguments],
                env={**TELEMETRY_OFF, **kept, **environ},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                pass_fds=tuple(pass_fds),
                start_new_session=True,  # Ctrl-C reaches only the supervisor, which stops its children in order
            )

        self.pid = self._child.pid

    @property
    def running(self) -> bool:
        """Whether the child has not ended."""
        return self.exit_code is None

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


def die_with_parent() -> list[str]:
    """Return the beginning of a command line with which the kernel ends the child when the supervisor dies.

    Without it, a child of a killed supervisor would keep its port and its model in memory. The kernel watches the
    thread that started the child, so that thread must not end before the child.

    Source: prctl(2), PR_SET_PDEATHSIG; setpriv(1) of util-linux, which every Debian has.
    """
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    return [setpriv, "--pdeathsig", "TERM"] if setpriv else []


Launch = Callable[..., Child]
"""Function that starts a child process, with the arguments of `Process`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessHost:
    """What the child processes of one platform have in common.

    Attributes:
        state: State directory, with the processes' logs, spools and sockets.
        inherit: Environment of the supervisor.
        clock: Clock for pauses and deadlines.
        launch: Starts a process.
    """

    state: StateDirectory
    inherit: Mapping[str, str]
    clock: Clock = SYSTEM
    launch: Launch = Process

    @property
    def storage_login(self) -> Mapping[str, str]:
        """Environment variables with which boto3 logs in to a storage: agents and the console get them."""
        return {name: value for name, value in self.inherit.items() if name.startswith("AWS_")}

    def start(
        self,
        module: str,
        environ: Mapping[str, str],
        log: str,
        *,
        arguments: Sequence[str] = (),
        pass_fds: Sequence[int] = (),
    ) -> Child:
        """Start a process that writes the log of this name; see `Process` for the arguments."""
        path = self.state.log(log)
        return self.launch(module, environ, path, inherit=self.inherit, arguments=arguments, pass_fds=pass_fds)


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

    def left_s(self) -> float:
        """Return the seconds until the next attempt is due; not above 0 when it is."""
        return self._not_before - self._clock.monotonic() if self.reason else 0.0

    def due(self) -> bool:
        """Return whether the next attempt is due."""
        return self.left_s() <= 0


class Supervised:
    """A child process that is started again after it has ended, when a pause that grows with its failures is over.

    The thread that calls `start` must outlive the process, because the kernel ends a child with the thread that started
    it.

    Args:
        name: Name of the process for log lines, such as `the agent of flowers`.
        log: Name of its log.
        start: Starts it.
        restart: Pauses before it is started again.
        steady_s: Running time after which the next end counts as the first failure, seconds.
        idle_run_s: Running time after which an end with exit code 0 is no failure, seconds; None: each end is one.
        find_hang: Returns why the running process must be stopped and started again; empty when it needn't.
        check_s: Interval at which `find_hang` is called, seconds.
        clock: Clock for pauses.
    """

    def __init__(
        self,
        name: str,
        log: str,
        start: Callable[[], Child],
        *,
        restart: Backoff,
        steady_s: float,
        idle_run_s: float | None = None,
        find_hang: Callable[[], str],
        check_s: float,
        clock: Clock,
    ) -> None:
        self.child: Child | None = None
        self.failures = Failures(restart, clock)
        self._name = name
        self._log_name = log
        self._start = start
        self._steady_s = steady_s
        self._idle_run_s = idle_run_s
        self._find_hang = find_hang
        self._check_s = check_s
        self._clock = clock
        self._started_at = self._checked_at = 0.0
        self._is_counted = True

    @property
    def running(self) -> bool:
        """Whether the process was started and has not ended."""
        return self.child is not None and self.child.running

    def describe(self) -> str:
        """Return the state of the process, for people."""
        if self.child is None:
            return f"can't be started: {self.failures.reason}" if self.failures.reason else "starting"
        code = self.child.exit_code
        return "running" if code is None else f"ended with {code}"

    def check(self) -> bool:
        """Return whether the process runs; note its end, or that it has run for long enough; stop one that hangs."""
        now = self._clock.monotonic()
        ran_s = now - self._started_at
        if self.running:
            if ran_s >= self._steady_s:
                self.failures.clear()
            if now - self._checked_at >= self._check_s:
                self._checked_at = now
                if reason := self._find_hang():
                    _log.warning("%s is started again: %s", self._name, reason)
                    self.stop()
            return True
        if self.child is not None and not self._is_counted:
            self._is_counted = True
            code = self.child.exit_code
            if code == 0 and self._idle_run_s is not None and ran_s >= self._idle_run_s:
                _log.info("%s has ended, because nobody needs it", self._name)
            else:
                pause_s = self.failures.note(f"ended with {code}")
                message = "%s ended with %s; it can be started again in %.0f s; its log: eaves logs %s"
                _log.warning(message, self._name, code, pause_s, self._log_name)
        return False

    def start(self) -> None:
        """Start the process, unless a pause isn't over. A start that fails is logged and tried again later."""
        if not self.failures.due():
            return
        try:
            self.child = self._start()
        except Exception as error:  # noqa: BLE001 - one process that can't be started must not stop the others
            self.child, reason = None, describe_exception(error)
            pause_s = self.failures.note(reason)
            _log.error("%s can't be started: %s; next try in %.0f s", self._name, reason, pause_s)
        else:
            self._started_at = self._checked_at = self._clock.monotonic()
            self._is_counted = False

    def terminate(self) -> None:
        """Ask the process to finish; return immediately."""
        if self.child is not None:
            self.child.terminate()

    def stop(self, *, timeout_s: float = STOP_S) -> None:
        """Ask the process to finish, and kill it when it takes longer than `timeout_s` seconds."""
        if self.child is not None:
            self.child.stop(timeout_s=timeout_s)


def describe_exception(error: Exception) -> str:
    """Return an exception's message for people; its type when the message is empty or can't be read."""
    try:
        return str(error) or type(error).__name__
    except Exception:  # noqa: BLE001 - handling an error must not raise another
        return type(error).__name__
