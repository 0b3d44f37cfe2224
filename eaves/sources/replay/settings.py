"""Settings of a source of kind `replay`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from eaves.config import setting

MAX_IMAGES = 100_000
"""Maximum number of images in a recording that is played once, as their ids are remembered so that a restart doesn't
play it again. It also limits every folder, whose names and times are in memory: some 20 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaySourceSettings:
    """Settings of a recording that is played."""

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
