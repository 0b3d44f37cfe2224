"""Replay of an artifact's golden images with a progress bar, for `eaves verify`, `package` and `deploy`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from eaves.cli.display.output import progress

if TYPE_CHECKING:
    from eaves.artifact import Artifact, GoldenResult


def replay_with_progress(artifact: Artifact, *, run_handler: bool = False) -> Sequence[GoldenResult]:
    """Replay every golden case in a child process, with a progress bar.

    Raises:
        EavesError: When the child process can't replay a case; `eaves.inference.replay` lists the causes.
    """
    from eaves.artifact import load_golden
    from eaves.inference.replay import replay_in_child

    with progress("replaying golden images", len(load_golden(artifact))) as bar:
        return replay_in_child(artifact, run_handler=run_handler, on_case=bar.update)
