"""A platform's console that was switched off."""

from __future__ import annotations

from eaves.history.recent_images import RecentImages


class AbsentConsole:
    """The console's part of `eaves.local.routes.SupervisorView`: no image is held, and no browser is sent anywhere."""

    images = RecentImages(0)

    def find_console(self, *, peer: str, asked: str) -> str:
        return ""
