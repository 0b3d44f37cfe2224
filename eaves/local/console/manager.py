"""Starts the console's process when somebody looks, and watches it.

The supervisor listens on the console's port and accepts nothing. The first connection waits in the kernel's queue while
the process starts, inherits the listening socket and accepts it. Without a connection for ten minutes the process ends,
and the supervisor waits for the next one: with nobody looking, the console takes neither memory nor CPU time.
"""

from __future__ import annotations

import logging
import os
import select
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from eaves.base.backoff import Backoff
from eaves.base.clock import SYSTEM, Clock
from eaves.history.recent_images import RecentImages
from eaves.local.console.listening import ConsolePort, Exposure, describe_failure, find_redirect, open_port
from eaves.local.console.process_settings import ProcessSettings
from eaves.local.processes.process import Child, Failures, Launch, Process, describe_exception
from eaves.local.settings import LocalSettings
from eaves.local.state import CONSOLE, StateDirectory

MODULE = "eaves.local.console"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleTimes:
    """Times of the console's process.

    Attributes:
        idle_s: Time without a connection after which the process ends, seconds: a person who comes back after a break
            finds the pages at once, and a night doesn't cost memory.
        watch_s: Interval at which a running process is checked, seconds.
        hung_s: Time for which a connection waits for a running process before that counts as hung, seconds.
        stop_s: Time that the process has to end before it is killed, seconds.
        steady_s: Running time after which the next end of the process counts as the first failure, seconds.
        min_run_s: Running time below which an end counts as a failure also when the exit code is 0, seconds, so that a
            process that ends at once isn't started in a loop by a connection that waits.
        restart: Pauses before the process is started again after it failed.
    """

    idle_s: float = 600.0
    watch_s: float = 0.5
    hung_s: float = 30.0
    stop_s: float = 5.0
    steady_s: float = 60.0
    min_run_s: float = 5.0
    restart: Backoff = field(default_factory=lambda: Backoff(retry=None, first_s=1.0, cap_s=60.0))


class ConsoleManager:
    """What the supervisor keeps for the console: the newest images, its port and, while somebody looks, its process.

    Without the setting `console` it holds no images and opens no port. A port that can't be opened is no error.
    One thread starts the process and outlives it, because the kernel ends a process with the thread that started it.

    Args:
        settings: Settings of the platform.
        state: State directory, with the process's log.
        inherit: Environment of the supervisor.
        clock: Clock for pauses.
        launch: Starts the process.
        times: Times of the process.
        exposure: How people reach it.

    Attributes:
        images: The newest images.
        reason: Why the console has no port; empty while it has one.
    """

    def __init__(
        self,
        settings: LocalSettings,
        state: StateDirectory,
        *,
        inherit: Mapping[str, str],
        clock: Clock = SYSTEM,
        launch: Launch = Process,
        times: ConsoleTimes = ConsoleTimes(),
        exposure: Exposure,
    ) -> None:
        self._settings = settings
        self._state = state
        self._inherit = inherit
        self._clock = clock
        self._launch = launch
        self._times = times
        self._exposure = exposure
        self.images = RecentImages(settings.console_images_max_bytes if settings.console else 0)
        self._project = Path.cwd()
        self._failures = Failures(times.restart, clock)
        self._port: ConsolePort | None = None
        self._child: Child | None = None
        self._started_at = 0.0
        self._unanswered_since: float | None = None
        self._stopping = False
        self._awake, self._wake = os.pipe()
        self.reason = ""
        self._thread = threading.Thread(target=self._run, name="console", daemon=True)

    def start(self) -> None:
        """Open the port, if the console is wanted, and wait for browsers."""
        settings = self._settings
        if not settings.console:
            return
        try:
            self._port = open_port(settings.console_host, settings.console_port, uses_tls=self._exposure.uses_tls)
        except Exception as error:  # noqa: BLE001 - the platform runs without its console
            self.reason = describe_failure(error, settings.console_port)
            _log.warning("there is no console: %s", self.reason)
        else:
            self._thread.start()

    def describe(self) -> tuple[str, ...]:
        """Return lines for the person who starts the platform: the console's address, or why there is none."""
        if self._port is None:
            return (f"there is no console: {self.reason}",) if self.reason else ()
        return (*filter(None, [self._port.notice]), *self._exposure.notices, f"console: {self.url}")

    @property
    def url(self) -> str:
        """Address of the console for people; empty while it has no port."""
        port = self._port
        return port.url if port is not None else ""

    @property
    def pid(self) -> int:
        """Process id of the running process; 0 when none runs."""
        child = self._child
        return child.pid if child is not None and child.running else 0

    @property
    def watches(self) -> bool:
        """Whether the thread runs that watches the port and the process."""
        return self._thread.is_alive()

    def find_redirect(self, *, peer: str, asked: str) -> str:
        """Return where a browser at the broker's address finds the console; see `listening.find_redirect`."""
        return find_redirect(self.url, self._settings.console_host, peer=peer, asked=asked)

    def terminate(self) -> None:
        """Stop listening, and ask the process to end; return immediately."""
        if not self._stopping:
            self._stopping = True
            os.write(self._wake, b"x")

    def stop(self) -> None:
        """Stop listening, and return when the process has ended."""
        self.terminate()
        if self._port is not None:
            self._thread.join()
        os.close(self._awake)
        os.close(self._wake)

    def _run(self) -> None:
        """Watch port and process until the manager is stopped; no exception ends the loop."""
        try:
            while not self._stopping:
                try:
                    self._watch()
                except Exception as error:  # noqa: BLE001 - without this thread nobody could look again
                    pause_s = self._failures.note(describe_exception(error))
                    _log.exception("the console: unexpected error; next try in %.0f s", pause_s)
        finally:
            if self._port is not None:
                self._port.socket.close()
            if self._child is not None:
                self._child.stop(timeout_s=self._times.stop_s)

    def _watch(self) -> None:
        """Take one step: check the running process, or wait for a connection and start it."""
        if self._child is not None:
            if self._child.running:
                self._check_running(self._child)
            else:
                self._note_end(self._child)
        elif not self._failures.due():
            self._sleep(self._times.watch_s)
        elif self._port is not None and (self._settings.console_thumbnails == "always" or self._await(self._port)):
            self._start(self._port)

    def _check_running(self, child: Child) -> None:
        """Wait a moment, and kill a process that leaves connections waiting."""
        self._sleep(self._times.watch_s)
        waits = self._port is not None and bool(_poll(self._port.socket.fileno(), timeout_s=0))
        now = self._clock.monotonic()
        if not waits:
            self._unanswered_since = None
        elif self._unanswered_since is None:
            self._unanswered_since = now
        elif now - self._unanswered_since > self._times.hung_s:
            _log.warning("the console accepts no connections; its process is ended and started again")
            child.stop(timeout_s=1)
        if now - self._started_at > self._times.steady_s:
            self._failures.clear()

    def _note_end(self, child: Child) -> None:
        ran_s, code = self._clock.monotonic() - self._started_at, child.exit_code
        self._child = self._unanswered_since = None
        if code == 0 and ran_s >= self._times.min_run_s:
            _log.info("the console ended, because nobody looks")
            return
        pause_s = self._failures.note(f"ended with {code}")
        _log.warning(
            "the console ended with %s; it can be started again in %.0f s; its log: eaves logs %s",
            *(code, pause_s, CONSOLE),
        )

    def _start(self, port: ConsolePort) -> None:
        values = ProcessSettings(
            listener=port.socket.fileno(),
            state=self._state.root.absolute(),
            project=self._project,
            idle_s=self._times.idle_s,
            platform=self._settings,
        )
        try:
            self._child = self._launch(
                *(MODULE, {}, self._state.log(CONSOLE)),
                inherit=self._inherit,
                arguments=[values.to_argument()],
                pass_fds=[values.listener],
            )
        except Exception as error:  # noqa: BLE001 - such as no memory for a process
            pause_s = self._failures.note(describe_exception(error))
            _log.error("the console can't be started: %s; next try in %.0f s", describe_exception(error), pause_s)
            return
        self._started_at = self._clock.monotonic()
        _log.info("started the console, pid %d", self._child.pid)

    def _await(self, port: ConsolePort) -> bool:
        """Wait until a connection waits or the manager is stopped; return whether one waits."""
        listener = port.socket.fileno()
        return listener in _poll(listener, self._awake) and not self._stopping

    def _sleep(self, seconds: float) -> None:
        """Wait for some time, or until the manager is stopped."""
        _poll(self._awake, timeout_s=seconds)


def _poll(*files: int, timeout_s: float | None = None) -> list[int]:
    """Return the file descriptors that can be read; wait for the first one, with or without a time limit.

    `select` can't be used: it refuses numbers above 1,023, and the platform may have more open files.
    """
    waiting = select.poll()
    for file in files:
        waiting.register(file, select.POLLIN)
    return [file for file, _ in waiting.poll(None if timeout_s is None else timeout_s * 1000)]
