"""A camera: a photo a second into the folder that an agent watches, each under a name of its own."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Camera:
    """Writes photos in time, whatever becomes of them.

    Attributes:
        inbox: The folder that the agent watches.
        photos: Bytes of the photos, taken in turn.
        every_s: Seconds from one to the next.
        prefix: What their names begin with.
        taken: Name to when it was complete in the folder, Unix seconds.
        sizes: Name to its bytes.
    """

    inbox: Path
    photos: Sequence[bytes]
    every_s: float = 1.0
    prefix: str = "photo"
    taken: dict[str, float] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    def run(self, start: float, seconds: float, stop: threading.Event) -> None:
        """Take photos.

        Args:
            start: When the first is due, `time.monotonic()`.
            seconds: For how long.
            stop: Ends it before.
        """
        for number, photo in enumerate(itertools.cycle(self.photos)):
            due = start + number * self.every_s
            if due >= start + seconds or stop.wait(max(0.0, due - time.monotonic())):
                return
            self.take(f"{self.prefix}-{number:06d}", photo)

    def take(self, stem: str, photo: bytes) -> str:
        """Write one photo, whole at once.

        Args:
            stem: Its file's name without the suffix.
            photo: JPEG or PNG.

        Returns:
            name: Its file's name.
        """
        name = f"{stem}.png" if photo.startswith(b"\x89PNG") else f"{stem}.jpg"
        hidden = self.inbox / f".{name}"
        hidden.write_bytes(photo)
        self.sizes[name] = len(photo)
        self.taken[name] = time.time()
        hidden.rename(self.inbox / name)
        return name
