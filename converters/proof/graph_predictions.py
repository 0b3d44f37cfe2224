"""Classifies images with a graph and measures the accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from eaves.artifact import DecisionRule
from eaves.errors import ConversionError, ImageError
from eaves.inference.session import Session
from eaves.recipe import Recipe
from trainer.progress import TrainingProgress

UNREADABLE = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphPredictions:
    """Predictions of a graph for images.

    Attributes:
        predicted: (N,) int64, index of the label predicted for each image; `UNREADABLE` if it can't be decoded.
        probabilities: (N, classes) float32, probabilities; 0 if the image can't be decoded.
    """

    predicted: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float32]


def classify(
    session: Session,
    recipe: Recipe,
    paths: Sequence[Path],
    progress: TrainingProgress,
    *,
    decision: DecisionRule,
    what: str,
) -> GraphPredictions:
    """Classify images with a session.

    Args:
        session: Session that serves the graph.
        recipe: Recipe that turns an image's bytes into a tensor.
        paths: Paths of the images.
        progress: Receives one step for each image.
        decision: Rule that chooses an image's label from the probabilities.
        what: Title of the phase, for people.

    Raises:
        ConversionError: There are images, and none can be decoded.
    """
    rows: list[npt.NDArray[np.float32] | None] = []
    with progress.phase(what, len(paths)) as step:
        for path in paths:
            rows.append(_classify(session, recipe, path))
            step()
    width = max((len(row) for row in rows if row is not None), default=0)
    if paths and not width:
        raise ConversionError(
            f"none of the {len(paths)} images can be decoded",
            hint="see the list of unreadable files in the run's report.html",
        )
    nothing = np.zeros(width, np.float32)
    return GraphPredictions(
        predicted=np.array([UNREADABLE if row is None else decision.choose(row) for row in rows], np.int64),
        probabilities=np.array([nothing if row is None else row for row in rows], np.float32).reshape(len(rows), width),
    )


def _classify(session: Session, recipe: Recipe, path: Path) -> npt.NDArray[np.float32] | None:
    """Return an image's probabilities; None if it can't be decoded."""
    try:
        tensor = recipe.tensor(path.read_bytes())
    except ImageError:  # training has left the image out too
        return None
    _, (probabilities,) = session.run(tensor[np.newaxis])
    return np.asarray(probabilities)
