"""The kind of source `replay`: its settings, and the function that plays the images of a folder or an archive."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from eaves.config import setting
from eaves.sources.context import SourceContext
from eaves.sources.kind import SourceKind

MAX_IMAGES = 100_000
"""Maximum number of images in a recording that is played once, because their ids are remembered so that a restart
doesn't play them again. It is also the maximum for every folder, whose names and times are kept in memory (about 20
MB)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaySourceSettings:
    """Settings of a recording that is played."""

    path: Path = setting(
        Path("/images"),
        "Folder, including all its subfolders, or archive with the images: .zip, .tar, "
        ".tar.gz, .tgz, .tar.bz2 or .tar.xz.",
    )
    every_s: float = setting(
        1.0,
        "Seconds between two images; 0 captures as fast as the queue accepts them, for load "
        "tests. The default is slow enough to watch.",
        minimum=0,
        maximum=86_400,
    )
    loop: bool = setting(False, "Start again after the last image. The images of each round have ids of their own.")
    times: str = setting(
        "original",
        "Capture time of the events: `original` is the time when the file was last modified, "
        "`now` is the time when it is played.",
        choices=("original", "now"),
    )


def run(settings: ReplaySourceSettings, context: SourceContext) -> None:
    """Play the images until the context says to stop."""
    from eaves.sources.replay.source import ReplaySource  # settings are read where nothing is played, too

    ReplaySource(settings, context).run()


KIND = SourceKind(settings=ReplaySourceSettings, run=run, runs_as=("claim", "reader"), remembers=lambda _: MAX_IMAGES)
