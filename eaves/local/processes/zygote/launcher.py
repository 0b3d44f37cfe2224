"""Starts functions and the console by a fork of the zygote, and other processes by their command."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from eaves.base.backoff import Backoff
from eaves.base.clock import SYSTEM, Clock
from eaves.local.processes.failures import Failures
from eaves.local.processes.process import Child, Process, build_environ, open_log
from eaves.local.processes.zygote.fork_request import Command
from eaves.local.processes.zygote.forked_process import ForkedProcess
from eaves.local.processes.zygote.zygote_process import START_S, ForkError, ZygoteProcess

FUNCTION, CONSOLE = "functions", "eaves.local.console"
"""Modules that are forked. No zygote is started for the console alone, because it takes more memory than they share."""
RESTART = Backoff(retry=None, first_s=5.0, cap_s=300.0)
"""Pauses before a zygote that failed is restarted; functions start without it meanwhile."""
MIN_AVAILABLE_BYTES = 200_000_000
"""Available memory of the machine below which no zygote is started, bytes: three times the size of a zygote."""

_log = logging.getLogger(__name__)


def read_available_bytes(meminfo: Path = Path("/proc/meminfo")) -> int:
    """Return the memory that new programs can use without swapping, bytes.

    Source: proc_meminfo(5), MemAvailable.
    """
    for line in meminfo.read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return MIN_AVAILABLE_BYTES


class Launcher:
    """Implements `eaves.local.processes.process.Launch`: functions and the console are forked from the zygote.

    A process whose fork fails for any reason is started by its command; a reason is logged once until it changes.

    Args:
        inherit: Environment of the supervisor.
        clock: Clock for pauses.
        start_s: Maximum time for which a function's start waits for a new zygote, seconds.
        available: Returns the available memory of the machine, bytes.
    """

    def __init__(
        self,
        *,
        inherit: Mapping[str, str],
        clock: Clock = SYSTEM,
        start_s: float = START_S,
        available: Callable[[], int] = read_available_bytes,
    ) -> None:
        self._environ = build_environ({}, inherit)
        self._failures = Failures(RESTART, clock)
        self._lock = threading.Lock()
        self._start_s = start_s
        self._available = available
        self._zygote: ZygoteProcess | None = None
        self._logged = ""
        self._closed = False

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
        """Start a process by a fork, or else by its command; see `Process` for the arguments."""
        if module == FUNCTION or (module == CONSOLE and self._zygote is not None):
            whole = build_environ(environ, inherit)
            try:
                return self._fork(Command(module=module, environ=whole, arguments=arguments, pass_fds=pass_fds), log)
            except ForkError as error:
                self._report(error, "the console starts" if module == CONSOLE else "functions start")
        return Process(module, environ, log, inherit=inherit, arguments=arguments, pass_fds=pass_fds)

    @property
    def pid(self) -> int:
        """Process id of the zygote; 0 when there is none."""
        zygote = self._zygote
        return zygote.pid if zygote is not None and zygote.running else 0

    def prepare(self, deployed: bool) -> None:
        """Start the zygote if there is none; return at once, also while another thread starts a function.

        Args:
            deployed: Whether any function is deployed; without one, the zygote is ended.
        """
        if self._lock.acquire(blocking=False):
            try:
                if not deployed:
                    self._drop()
                elif self._zygote is None and not self._closed and self._failures.due():
                    self._open()
            except ForkError as error:
                self._report(error)
            finally:
                self._lock.release()

    def close(self) -> None:
        """End the zygote. Forked processes continue to run."""
        with self._lock:
            self._closed = True
            self._drop()

    def _fork(self, command: Command, log: Path) -> Child:
        """Fork a process; a zygote that is outdated or has ended is replaced once.

        Raises:
            ForkError: When that fails too.
        """
        with self._lock, open_log(log) as stream:
            try:
                child = self._find().fork(command, stream.fileno())
            except ForkError as error:
                if not error.outdated:
                    raise
                _log.info("the zygote is replaced: %s", error)
                self._drop()
                child = self._fork_anew(command, stream.fileno())
            self._failures.clear()
            self._logged = ""
            return child

    def _fork_anew(self, command: Command, log: int) -> ForkedProcess:
        """Fork a process from a new zygote.

        Raises:
            ForkError: When that fails.
        """
        try:
            return self._find().fork(command, log)
        except ForkError as error:
            if error.outdated:
                self._drop()
                self._failures.note(str(error))
            raise

    def _find(self) -> ZygoteProcess:
        """Return the zygote, and start it if there is none.

        Raises:
            ForkError: When it can't be started.
        """
        if self._closed:
            raise ForkError("it was ended")
        if self._zygote is None and not self._failures.due():
            raise ForkError(self._failures.reason)
        return self._zygote or self._open()

    def _open(self) -> ZygoteProcess:
        if self._available() < MIN_AVAILABLE_BYTES:
            reason = f"less than {MIN_AVAILABLE_BYTES / 1e6:.0f} MB of memory are available"
            self._failures.note(reason)
            raise ForkError(reason)
        try:
            self._zygote = ZygoteProcess(self._environ, start_s=self._start_s)
        except OSError as error:
            self._failures.note(str(error))
            raise ForkError(f"it can't be started: {error}") from error
        return self._zygote

    def _report(self, error: ForkError, what: str = "functions start") -> None:
        if self._logged != str(error):
            _log.warning("%s without the zygote, which takes longer: %s", what, error)
        self._logged = str(error)

    def _drop(self) -> None:
        if self._zygote is not None:
            self._zygote.close()
            self._zygote = None
