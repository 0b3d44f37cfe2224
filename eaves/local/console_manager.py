"""Starts the console's process when somebody looks, and watches it.

The supervisor listens on the console's port and accepts nothing. The first connection waits in the kernel's queue while
the process starts, inherits the listening socket and accepts it. Without a connection for ten minutes the process ends,
and the supervisor waits for the next one: with nobody looking, the console takes neither memory nor CPU time.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import select
import socket
import threading
from dataclasses import asdict, replace
from pathlib import Path

from eaves.base.backoff import Backoff
from eaves.credentials import CERTIFICATE
from eaves.errors import EavesError
from eaves.history.recent_images import RecentImages
from eaves.local.processes.process import KUBECONFIG, Child, ProcessHost, Supervised, describe_exception
from eaves.local.server import EVERY_ADDRESS, bind_port, build_port_error, resolve_host
from eaves.local.settings import LocalSettings
from eaves.local.state import CONSOLE, StateDirectory
from eaves.origin import is_loopback_host

MODULE = "eaves.local.console"
BACKLOG = 128
"""Number of connections that wait while the console's process starts."""
WATCH_S = 0.5
"""Interval at which a running process is looked at, seconds."""
HUNG_S = 15.0
"""Interval of the check whether a connection waits for a running process, seconds; one at two checks means that it
hangs."""
STEADY_S = 60.0
"""Running time after which the next end of the process counts as the first failure, seconds."""
MIN_RUN_S = 5.0
"""Running time below which an end with exit code 0 is a failure too, seconds, so that a process that ends at once isn't
started in a loop by a connection that waits."""
RESTART = Backoff(retry=None, first_s=1.0, cap_s=60.0)
"""Pauses before the process is started again after it failed."""
_log = logging.getLogger(__name__)


class ConsoleManager:
    """What the supervisor keeps for the console: the newest images, its port and, while somebody looks, its process.

    Without the setting `console` it holds no images and opens no port. A port that can't be opened is no error.
    One thread starts the process and outlives it, because the kernel ends a process with the thread that started it.

    Args:
        settings: Settings of the platform.
        host: What all processes of the platform have in common.
        notices: What `prepare_exposure` returned.
        hung_s: Interval of the check for a process that hangs, seconds.
        min_run_s: Running time below which an end with exit code 0 is a failure too, seconds.
        restart: Pauses before the process is started again after it failed.

    Attributes:
        images: The newest images.
        url: Address of the console for people; empty while it has no port.
        reason: Why the console has no port; empty while it has one.
    """

    def __init__(
        self,
        settings: LocalSettings,
        host: ProcessHost,
        *,
        notices: tuple[str, ...] = (),
        hung_s: float = HUNG_S,
        min_run_s: float = MIN_RUN_S,
        restart: Backoff = RESTART,
    ) -> None:
        self._settings = settings
        self._host = host
        self._notices = notices
        self._project = Path.cwd()
        self._listener: socket.socket | None = None
        self._is_awaited = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._process = Supervised(
            "the console",
            CONSOLE,
            self._launch,
            restart=restart,
            steady_s=STEADY_S,
            idle_run_s=min_run_s,
            find_hang=self._find_hang,
            check_s=hung_s,
            clock=host.clock,
        )
        self.images = RecentImages() if settings.console else RecentImages(0)
        self.url = self.reason = ""

    def start(self) -> None:
        """Open the port, if the console is wanted, and wait for browsers."""
        if not self._settings.console:
            return
        try:
            self._listener = self._open_port(self._settings.console_host, self._settings.console_port)
        except Exception as error:  # noqa: BLE001 - the platform runs without its console
            if isinstance(error, OSError):
                error = build_port_error(error, f"port {self._settings.console_port}")
            self.reason = error.message if isinstance(error, EavesError) else str(error)
            _log.warning("there is no console: %s", self.reason)
        else:
            self._thread = threading.Thread(target=self._run, args=(self._listener,), name="console", daemon=True)
            self._thread.start()

    def _open_port(self, host: str, port: int) -> socket.socket:
        """Return a socket that listens and accepts nothing yet, and note its address for people.

        On loopback a free port is taken when the wanted one is in use, so that two projects on one machine both have a
        console. Off loopback it isn't: firewalls and other people know the number of the port.
        """
        address, folder = resolve_host(host), self._settings.console_credentials
        try:
            bound = bind_port(address, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not is_loopback_host(address):
                raise
            notice = f"port {port} is in use by another program, so the console has a free one"
            self._notices = (notice, *self._notices)
            bound = bind_port(address, 0)
        try:
            bound.listen(BACKLOG)
        except OSError:
            bound.close()
            raise
        shown = host
        if address in EVERY_ADDRESS:  # in this machine's network, if it has one
            from eaves.console.exposure import find_own_addresses

            shown = next(iter(find_own_addresses()), socket.gethostname())
        name = f"[{shown}]" if ":" in shown else shown
        uses_tls = folder is not None and (not is_loopback_host(host) or (folder / CERTIFICATE).exists())
        self.url = f"{'https' if uses_tls else 'http'}://{name}:{bound.getsockname()[1]}/"
        return bound

    def describe(self) -> tuple[str, ...]:
        """Return lines for the person who starts the platform: the console's address, or why there is none."""
        if not self.url:
            return (f"there is no console: {self.reason}",) if self.reason else ()
        return (*self._notices, f"console: {self.url}")

    @property
    def pid(self) -> int:
        """Process id of the running process; 0 when none runs."""
        child = self._process.child
        return child.pid if child is not None and child.running else 0

    def terminate(self) -> None:
        """Stop listening, and ask the process to end; return immediately."""
        self._stop.set()
        if self._listener is not None:
            with contextlib.suppress(OSError):  # it was shut down before
                self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for a connection

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
            self._process.stop()
            listener.close()

    def _watch(self, listener: socket.socket) -> None:
        """Take one step: check the running process, or wait for a connection and start it."""
        if self._process.check() or not self._process.failures.due():
            self._stop.wait(WATCH_S)
            return
        if _has_connection(listener, timeout_s=None) and not self._stop.is_set():
            self._is_awaited = False
            self._process.start()

    def _find_hang(self) -> str:
        """Return why the process hangs: it leaves connections waiting."""
        was_awaited = self._is_awaited
        self._is_awaited = self._listener is not None and _has_connection(self._listener, timeout_s=0)
        return "it accepts no connections" if was_awaited and self._is_awaited else ""

    def _launch(self) -> Child:
        """Start the process. Its jobs train in the cluster of the kubeconfig, and fetch runs from a storage."""
        folder, number = self._settings.console_credentials, self._listener.fileno() if self._listener else -1
        settings = asdict(replace(self._settings, console_credentials=folder and folder.absolute()))
        places = [str(self._host.state.root.absolute()), str(self._project)]
        arguments = [str(number), *places, json.dumps(settings, default=str)]
        kubeconfig = {name: value for name, value in self._host.inherit.items() if name == KUBECONFIG}
        environ = {**self._host.storage_login, **kubeconfig}
        return self._host.start(MODULE, environ, CONSOLE, arguments=arguments, pass_fds=[number])


def _has_connection(listener: socket.socket, *, timeout_s: float | None) -> bool:
    """Return whether a connection waits; without a time limit, wait for one, or for the end of listening.

    `select` can't be used: it refuses numbers above 1,023, and the platform may have more open files.
    """
    waiting = select.poll()
    waiting.register(listener, select.POLLIN)
    return bool(waiting.poll(None if timeout_s is None else timeout_s * 1000))


def prepare_exposure(settings: LocalSettings, state: StateDirectory) -> tuple[str, ...]:
    """Check and create the credentials of the console, so that a wrong setting is an error at the start.

    Returns:
        Lines about created files, for the person who starts the platform.

    Raises:
        ConfigError: When other machines could open the console without a password, or a file can't be used.
        StorageError: When a file can't be created or read.
    """
    folder = settings.console_credentials
    is_local = is_loopback_host(settings.console_host)
    if not settings.console or (is_local and folder is None):
        return ()
    from eaves.console.exposure import ConsoleSettings, check_exposure, prepare_credentials

    security = ConsoleSettings(host=settings.console_host, credentials=folder)
    check_exposure(security, folder=state.root / "console")
    notices = () if folder is None else prepare_credentials(folder, host=settings.console_host, needs_tls=not is_local)
    security.build_tls()
    return notices
