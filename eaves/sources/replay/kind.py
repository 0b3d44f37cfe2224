"""The kind of source `replay`: its settings, and the function that plays the images of a folder or an archive."""

from __future__ import annotations

from eaves.sources.context import SourceContext
from eaves.sources.kind import SourceKind
from eaves.sources.replay.settings import MAX_IMAGES, ReplaySourceSettings


def run(settings: ReplaySourceSettings, context: SourceContext) -> None:
    """Play the images until the context says to stop."""
    from eaves.sources.replay.source import ReplaySource  # settings are read where nothing is played, too

    ReplaySource(settings, context).run()


KIND = SourceKind(settings=ReplaySourceSettings, run=run, runs_as=("claim", "reader"), remembers=lambda _: MAX_IMAGES)
