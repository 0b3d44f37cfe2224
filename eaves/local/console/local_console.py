"""What the supervisor keeps for the console: recent images, and the console's port and process."""

from __future__ import annotations

from collections.abc import Mapping

from eaves.base.clock import SYSTEM, Clock
from eaves.history.recent_images import RecentImages
from eaves.local.console.exposure import prepare_exposure
from eaves.local.console.manager import ConsoleManager
from eaves.local.processes.process import Launch, Process
from eaves.local.settings import LocalSettings
from eaves.local.state import StateDirectory


class LocalConsole:
    """The console's parts in the supervisor. Without the setting `console` it holds no images and opens no port.

    Args:
        settings: Settings of the platform.
        state: State directory.
        inherit: Environment of the supervisor.
        clock: Clock for pauses.
        launch: Starts the console's process.

    Attributes:
        images: The newest images.

    Raises:
        ConfigError: When other machines could open the console without a password, or a file of the credentials can't
            be used.
        StorageError: When the credentials can't be created or read.
    """

    def __init__(
        self,
        settings: LocalSettings,
        state: StateDirectory,
        *,
        inherit: Mapping[str, str],
        clock: Clock = SYSTEM,
        launch: Launch = Process,
    ) -> None:
        self.images = RecentImages(settings.console_images_max_bytes if settings.console else 0)
        self._settings = settings
        self._state = state
        self._inherit = inherit
        self._clock = clock
        self._launch = launch
        self._manager: ConsoleManager | None = None
        self._exposure = prepare_exposure(settings, state)

    def start(self) -> None:
        """Open the port, if the console is wanted. A port that can't be opened is no error: it is tried again."""
        if self._settings.console:
            self._manager = ConsoleManager(
                self._settings,
                self._state,
                inherit=self._inherit,
                clock=self._clock,
                launch=self._launch,
                uses_tls=self._exposure.uses_tls,
            )

    def describe(self) -> tuple[str, ...]:
        """Return lines for the person who starts the platform: the console's address, or why there is none."""
        manager = self._manager
        if manager is None:
            return ()
        if not manager.url:
            return (f"there is no console: {manager.reason}; `eaves up` tries again",)
        return (*filter(None, [manager.notice]), *self._exposure.notices, f"console: {manager.url}")

    def find_redirect(self, *, peer: str, asked: str) -> str:
        """Return where a browser that opened the broker's address finds the console; empty when there is none for it.

        Args:
            peer: IP address of the browser.
            asked: Host that the browser asked for, without the port.
        """
        return self._manager.find_redirect(peer=peer, asked=asked) if self._manager else ""

    def terminate(self) -> None:
        """Ask the console to end; return immediately."""
        if self._manager is not None:
            self._manager.terminate()

    def stop(self) -> None:
        """End the console, and return when its process has ended."""
        if self._manager is not None:
            self._manager.stop()
