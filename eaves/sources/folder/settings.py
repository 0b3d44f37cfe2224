"""Settings of a source of kind `folder`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from eaves.config import setting

MIN_REMEMBER_S = 172_800
"""Minimum of `remember_s`, seconds: two days, because files in the folder are marked as needed once a day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderSourceSettings:
    """Settings of a watched folder."""

    path: Path = setting(Path("/images"), "The folder to watch, with everything below it.")
    polling: bool = setting(
        False, "Scan the folder every `poll_s` instead of asking the kernel: for NFS and other network folders."
    )
    poll_s: float = setting(
        1.0,
        "Seconds between two scans when polling; a scan is followed by a pause of ten times its own length at least, "
        "so that a large folder takes a tenth of a core at most.",
        minimum=0.01,
        maximum=3600,
    )
    settle_s: float = setting(
        2.0, "Seconds a file must stay unchanged when nothing tells that its writer closed it.", minimum=0, maximum=600
    )
    known_files: int = setting(
        200_000,
        "Most files that are remembered in memory as sent, about 100 bytes each; further ones are looked up in the "
        "spool at each scan. The default takes 20 MB of the 256 MB that an agent's pod may use.",
        minimum=0,
    )
    max_files: int = setting(
        1_000_000,
        "With so many images in the folder, capture is paused until some are removed, as the spool couldn't remember "
        "all that were sent. It remembers twice as many, about 60 bytes each: the default takes up to 120 MB of disk.",
        minimum=1,
    )
    remember_s: int = setting(
        604_800,
        "Seconds for which the spool remembers an image after it left the folder; when it comes back later, it is sent "
        "again. Files that stay in the folder are never forgotten. The default, 7 days, lets a disk be unplugged for a "
        "week.",
        minimum=MIN_REMEMBER_S,
    )
