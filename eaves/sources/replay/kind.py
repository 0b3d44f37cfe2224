"""The kind `replay`."""

from __future__ import annotations

from eaves.sources.context import SourceContext
from eaves.sources.kind import SourceKind
from eaves.sources.replay.settings import ReplaySettings

REMEMBERED = 100_000
"""Images of one recording that is played once: so many ids are remembered, so that a restart doesn't play it again."""


def run(settings: ReplaySettings, context: SourceContext) -> None:
    """Play the images until the context says to stop."""
    from eaves.sources.replay.source import ReplaySource  # settings are read where nothing is played, too

    ReplaySource(settings, context).run()


KIND = SourceKind(settings=ReplaySettings, run=run, runs_as=("claim", "reader"), remembers=lambda _: REMEMBERED)
