"""The kind of source `folder`, which watches a folder for image files: its settings and the function that runs it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from eaves.config import setting
from eaves.sources.context import SourceContext
from eaves.sources.kind import SourceKind


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderSourceSettings:
    """Settings of a watched folder."""

    path: Path = setting(Path("/images"), "Folder to watch, including all its subfolders.")
    polling: bool = setting(
        False,
        "Scan the folder every `poll_s` instead of using the kernel's file "
        "notifications. NFS and other network folders need this.",
    )
    poll_s: float = setting(
        1.0,
        "Seconds between two scans when polling. The pause after a scan is at least ten times "
        "the duration of the scan, so that a large folder takes at most a tenth of a core.",
        minimum=0.01,
        maximum=3600,
    )
    settle_s: float = setting(
        2.0,
        "Seconds that a file must stay unchanged before it is captured, if no "
        "notification says that its writer closed it.",
        minimum=0,
        maximum=600,
    )
    max_files: int = setting(
        1_000_000,
        "Number of images in the folder at which capture is paused until some are removed, "
        "because the spool could not remember all that were sent. It remembers twice as many, "
        "about 60 bytes each: the default takes up to 120 MB of disk.",
        minimum=1,
    )


def run(settings: FolderSourceSettings, context: SourceContext) -> None:
    """Watch the folder until the context says to stop."""
    from eaves.sources.folder.source import FolderSource  # settings are read where watchdog isn't installed, too

    FolderSource(settings, context).run()


KIND = SourceKind(
    settings=FolderSourceSettings,
    run=run,
    runs_as=("claim", "node"),
    remembers=lambda settings: settings.max_files,
)
