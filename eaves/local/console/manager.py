"""Starts the console's process when somebody looks, and watches it.

The supervisor listens on the console's port and accepts nothing. The first connection waits in the kernel's queue while
the process starts, inherits the listening socket and accepts it. Without a connection for ten minutes the process ends,
and the supervisor waits for the next one: with nobody looking, the console takes neither memory nor CPU time.
"""

from __future__ import annotations

import contextlib
import json
import logging
import select
import socket
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from eaves.base.backoff import Backoff
from eaves.config import SettingsLayer, build
from eaves.errors import InputError
from eaves.history.recent_images import RecentImages
from eaves.local.console.listening import ConsolePort, Exposure, describe_failure, open_port
from eaves.local.processes.process import Child, ProcessHost, Supervised, describe_exception
from eaves.local.settings import LocalSettings
from eaves.local.state import CONSOLE

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


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSettings:
    """What the supervisor passes to the console's process, as the one argument of its command.

    Attributes:
        listener: File descriptor of the listening socket, which the process inherits.
        state: State directory of the platform.
        project: Directory in which `eaves up` was started; runs and artifacts are searched below it.
        idle_s: Time without a connection after which the process ends, seconds.
        platform: Settings of the platform.
    """

    listener: int
    state: Path
    project: Path
    idle_s: float
    platform: LocalSettings

    def to_argument(self) -> str:
        """Return the settings as one argument of a command."""
        return json.dumps(asdict(self), default=str)


def parse_process_settings(arguments: Sequence[str]) -> ProcessSettings:
    """Parse the settings from the arguments of the process.

    Raises:
        InputError: When the process wasn't started by `eaves up`.
    """
    try:
        values = json.loads(arguments[0])
        platform = build(LocalSettings, SettingsLayer(origin="eaves up", values=values.pop("platform")))
        state, project = Path(values.pop("state")), Path(values.pop("project"))
        return ProcessSettings(**values, state=state, project=project, platform=platform)
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        raise InputError(
            "the console's process is started by `eaves up`, and not by itself", hint="eaves up"
        ) from error


class ConsoleManager:
    """What the supervisor keeps for the console: the newest images, its port and, while somebody looks, its process.

    Without the setting `console` it holds no images and opens no port. A port that can't be opened is no error.
    One thread starts the process and outlives it, because the kernel ends a process with the thread that started it.

    Args:
        settings: Settings of the platform.
        host: What all processes of the platform have in common.
        times: Times of the process.
        exposure: How people reach it.

    Attributes:
        images: The newest images.
        reason: Why the console has no port; empty while it has one.
    """

    def __init__(
        self,
        settings: LocalSettings,
        host: ProcessHost,
        *,
        exposure: Exposure,
        times: ConsoleTimes = ConsoleTimes(),
    ) -> None:
        self._settings = settings
        self._host = host
        self._times = times
        self._exposure = exposure
        self.images = RecentImages(settings.console_images_max_bytes if settings.console else 0)
        self._project = Path.cwd()
        self._port: ConsolePort | None = None
        self._process = Supervised(
            "the console",
            CONSOLE,
            self._launch,
            restart=times.restart,
            steady_s=times.steady_s,
            idle_run_s=times.min_run_s,
            clock=host.clock,
        )
        self._unanswered_since: float | None = None
        self._stop = threading.Event()
        self.reason = ""
        self._thread: threading.Thread | None = None

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
            listener = self._port.socket
            self._thread = threading.Thread(target=self._run, args=(listener,), name="console", daemon=True)
            self._thread.start()

    def describe(self) -> tuple[str, ...]:
        """Return lines for the person who starts the platform: the console's address, or why there is none."""
        if self._port is None:
            return (f"there is no console: {self.reason}",) if self.reason else ()
        return (*filter(None, [self._port.notice]), *self._exposure.notices, f"console: {self.url}")

    @property
    def url(self) -> str:
        """Address of the console for people; empty while it has no port."""
        return self._port.url if self._port is not None else ""

    @property
    def pid(self) -> int:
        """Process id of the running process; 0 when none runs."""
        child = self._process.child
        return child.pid if child is not None and child.running else 0

    @property
    def watches(self) -> bool:
        """Whether the thread runs that watches the port and the process."""
        return self._thread is not None and self._thread.is_alive()

    def terminate(self) -> None:
        """Stop listening, and ask the process to end; return immediately."""
        self._stop.set()
        if self._port is not None:
            with contextlib.suppress(OSError):  # it was shut down before
                self._port.socket.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for a connection

    def stop(self) -> None:
        """Stop listening, and return when the process has ended."""
        self.terminate()
        if self._thread is not None:
            self._thread.join()

    def _run(self, listener: socket.socket) -> None:
        """Watch port and process until the manager is stopped; no exception ends the loop."""
        try:
            while not self._stop.is_set():
                try:
                    self._watch(listener)
                except Exception as error:  # noqa: BLE001 - without this thread nobody could look again
                    pause_s = self._process.failures.note(describe_exception(error))
                    _log.exception("the console: unexpected error; next try in %.0f s", pause_s)
        finally:
            self._process.stop(timeout_s=self._times.stop_s)
            listener.close()

    def _watch(self, listener: socket.socket) -> None:
        """Take one step: check the running process, or wait for a connection and start it."""
        if self._process.look():
            self._stop.wait(self._times.watch_s)
            self._end_if_hung(listener)
        elif not self._process.failures.due():
            self._stop.wait(self._times.watch_s)
        elif self._is_wanted(listener):
            self._unanswered_since = None
            self._process.start()

    def _is_wanted(self, listener: socket.socket) -> bool:
        """Wait until the process is needed; return False when the manager is stopped meanwhile."""
        is_needed = self._settings.console_thumbnails == "always" or _has_connection(listener, timeout_s=None)
        return is_needed and not self._stop.is_set()

    def _end_if_hung(self, listener: socket.socket) -> None:
        """Kill a process that leaves connections waiting."""
        now = self._host.clock.monotonic()
        if not _has_connection(listener, timeout_s=0):
            self._unanswered_since = None
        elif self._unanswered_since is None:
            self._unanswered_since = now
        elif now - self._unanswered_since > self._times.hung_s:
            _log.warning("the console accepts no connections; its process is ended and started again")
            self._process.stop(timeout_s=1)

    def _launch(self) -> Child:
        folder = self._settings.console_credentials
        values = ProcessSettings(
            listener=self._port.socket.fileno() if self._port is not None else -1,
            state=self._host.state.root.absolute(),
            project=self._project,
            idle_s=self._times.idle_s,
            platform=replace(self._settings, console_credentials=folder and folder.absolute()),
        )
        arguments, pass_fds = [values.to_argument()], [values.listener]
        return self._host.start(MODULE, {}, CONSOLE, arguments=arguments, pass_fds=pass_fds)


def _has_connection(listener: socket.socket, *, timeout_s: float | None) -> bool:
    """Return whether a connection waits; without a time limit, wait for one, or for the end of listening.

    `select` can't be used: it refuses numbers above 1,023, and the platform may have more open files.
    """
    waiting = select.poll()
    waiting.register(listener, select.POLLIN)
    return bool(waiting.poll(None if timeout_s is None else timeout_s * 1000))
