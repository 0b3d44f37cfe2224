"""A platform's console that was switched off."""

from __future__ import annotations

from eaves.history.recent_images import RecentImages
from eaves.local.console.replica_starts import ReplicaStarts


class AbsentConsole:
    """Implements `eaves.local.console.routes.ConsoleView`: no image is held, and no browser is sent anywhere."""

    def __init__(self) -> None:
        self.images = RecentImages(0)
        self.starts = ReplicaStarts()

    def find_redirect(self, *, peer: str, asked: str) -> str:
        return ""
