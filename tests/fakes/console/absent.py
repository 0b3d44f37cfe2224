"""A platform's console that was switched off."""

from __future__ import annotations

from eaves.history.recent_images import RecentImages


class AbsentConsole:
    """Implements `eaves.local.console.routes.ConsoleView`: no image is held, and no browser is sent anywhere."""

    def __init__(self) -> None:
        self.images = RecentImages(0)

    def find_redirect(self, *, peer: str, asked: str) -> str:
        return ""
