"""Simulates a camera that writes photos with unique names, at fixed times, into the directory that an agent watches."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Camera:
    """Simulated camera that writes photos at fixed times, whether or not earlier ones were processed.

    Attributes:
        inbox: Directory that the agent watches; the photos are written into it.
        photos: Content of the photos, used one after the other and then again from the first.
        every_s: Seconds between two photos.
        prefix: Prefix of the photos' file names.
        taken: File name of each photo, and the time when it was complete in the directory, Unix seconds.
        sizes: File name of each photo, and its size in bytes.
    """

    inbox: Path
    photos: Sequence[bytes]
    every_s: float = 1.0
    prefix: str = "photo"
    taken: dict[str, float] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    def run(self, start: float, seconds: float, stop: threading.Event) -> None:
        """Write photos at fixed times until the given duration is over.

        Args:
            start: Time of the first photo, by `time.monotonic()`.
            seconds: Duration, seconds.
            stop: `threading.Event`; once it is set, no further photo is written.
        """
        for number, photo in enumerate(itertools.cycle(self.photos)):
            due = start + number * self.every_s
            if due >= start + seconds or stop.wait(max(0.0, due - time.monotonic())):
                return
            self.take(f"{self.prefix}-{number:06d}", photo)

    def take(self, stem: str, photo: bytes) -> str:
        """Write one photo into the directory, atomically, so that the agent never reads a part of it.

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
