"""The kind of source `folder`, which watches a folder for image files: its settings and the function that runs it."""

from __future__ import annotations

from eaves.sources.context import SourceContext
from eaves.sources.folder.settings import FolderSourceSettings
from eaves.sources.kind import SourceKind


def run(settings: FolderSourceSettings, context: SourceContext) -> None:
    """Watch the folder until the context says to stop."""
    from eaves.sources.folder.source import FolderSource  # settings are read where watchdog isn't installed, too

    FolderSource(settings, context).run()


KIND = SourceKind(
    settings=FolderSourceSettings,
    run=run,
    runs_as=("claim", "node", "reader"),
    remembers=lambda settings: settings.max_files,
)
