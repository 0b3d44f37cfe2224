"""What every platform does."""

from __future__ import annotations

from typing import Protocol, TypeVar

from eaves.delivery import SinkResponse
from eaves.events import Event
from eaves.platform.app import AppSpec
from eaves.platform.status import FunctionStatus

AppT_contra = TypeVar("AppT_contra", bound=AppSpec, contravariant=True)
"""Class of the apps that a platform takes: an app of another platform is an error of types."""


class Platform(Protocol[AppT_contra]):
    """What runs functions. Everything raises PlatformError (or a subclass) when the platform itself fails."""

    def deploy(self, app: AppT_contra) -> None:
        """Want this app, in place of one whose function has the same name. Idempotent.

        It returns once the platform has the app for good; whether it serves is told by `status`.
        """

    def promote(self, name: str) -> None:
        """Let what was deployed last take every request; nothing is left to do where `deploy` did so already."""

    def rollback(self, name: str) -> None:
        """Serve again what was served before. Raises NotFoundError when there is nothing before it."""

    def remove(self, name: str) -> None:
        """Stop wanting it; leaves nothing running. Raises NotFoundError when it isn't there."""

    def status(self) -> list[FunctionStatus]:
        """Every function wanted, by name."""

    def invoke(self, name: str, event: Event, *, timeout_s: float = 120.0) -> SinkResponse:
        """Send one event straight to a function, starting it when needed, and return what it answers."""

    def publish(self, event: Event) -> None:
        """Hand one event to the broker; once this returns it is the broker's to deliver, at least once."""

    def logs(self, name: str, *, lines: int = 100) -> list[str]:
        """The last lines a function wrote, oldest first."""
