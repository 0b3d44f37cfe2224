"""A camera: writes one photo per second into the directory that an agent watches, each with a unique name."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Camera:
    """Writes photos at fixed times, independent of their processing.

    Attributes:
        inbox: Directory that the agent watches.
        photos: Bytes of the photos, used in turn.
        every_s: Seconds between two photos.
        prefix: Prefix of their names.
        taken: Name to the time when the photo was complete in the directory, Unix seconds.
        sizes: Name to the photo's bytes.
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
            start: Time of the first photo, by `time.monotonic()`.
            seconds: Duration.
            stop: Event that ends it earlier.
        """
        for number, photo in enumerate(itertools.cycle(self.photos)):
            due = start + number * self.every_s
            if due >= start + seconds or stop.wait(max(0.0, due - time.monotonic())):
                return
            self.take(f"{self.prefix}-{number:06d}", photo)

    def take(self, stem: str, photo: bytes) -> str:
        """Write one photo atomically.

        Args:
            stem: Name of its file without the suffix.
            photo: Content, JPEG or PNG.

        Returns:
            Name of its file.
        """
        name = f"{stem}.png" if photo.startswith(b"\x89PNG") else f"{stem}.jpg"
        hidden = self.inbox / f".{name}"
        hidden.write_bytes(photo)
        self.sizes[name] = len(photo)
        self.taken[name] = time.time()
        hidden.rename(self.inbox / name)
        return name
