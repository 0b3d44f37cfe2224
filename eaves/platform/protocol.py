"""The Protocol that every platform implements."""

from __future__ import annotations

from typing import Protocol, TypeVar

from eaves.delivery import SinkResponse
from eaves.events import Event
from eaves.platform.app import AppSpec
from eaves.platform.status import FunctionStatus

AppT_contra = TypeVar("AppT_contra", bound=AppSpec, contravariant=True)
"""Class of the apps that a platform accepts; mypy reports an app of another platform's class."""


class Platform(Protocol[AppT_contra]):
    """A platform that runs functions. Every method raises PlatformError when the platform itself fails."""

    def deploy(self, app: AppT_contra) -> None:
        """Deploy this app in place of one whose function has the same name; the call is idempotent.

        It returns when the platform has stored the app durably; `status` says whether the app serves.
        """

    def promote(self, name: str) -> None:
        """Route all requests to the latest deployment; does nothing when `deploy` did so already."""

    def rollback(self, name: str) -> None:
        """Serve the previous deployment again. Raises NotFoundError when there is none."""

    def remove(self, name: str) -> None:
        """Remove an app and everything that runs for it. Raises NotFoundError when it doesn't exist."""

    def status(self) -> list[FunctionStatus]:
        """Return the status of every deployed function, by name."""

    def invoke(self, name: str, event: Event, *, timeout_s: float = 120.0) -> SinkResponse:
        """Send one event straight to a function, start the function when needed, and return its response."""

    def publish(self, event: Event) -> None:
        """Hand one event to the broker, which delivers it at least once after this call returns."""

    def logs(self, name: str, *, lines: int = 100) -> list[str]:
        """Return the last lines of a function's log, oldest first."""
