"""Settings of a source of kind `replay`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from eaves.config import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaySettings:
    """Images that are played."""

    path: Path = setting(
        Path("/images"),
        "The folder, with everything below it, or the archive: .zip, .tar, .tar.gz, .tgz, .tar.bz2 or .tar.xz.",
    )
    every_s: float = setting(
        1.0,
        "Seconds between two images; 0: as fast as the queue takes them, for load. The default can be followed by eye.",
        minimum=0,
        maximum=86_400,
    )
    loop: bool = setting(False, "Begin again after the last image; each round's images have ids of their own.")
    times: str = setting(
        "original",
        "Capture time of the events: `original`, when the file was modified; `now`, when it is played.",
        choices=("original", "now"),
    )
