"""How right a graph is on labelled images that nobody trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from eaves.errors import ConversionError, ImageError
from eaves.recipe import Recipe
from eaves.statistics import wilson
from functions.session import Session
from trainer.progress import Progress
from trainer.run import Sample

UNREADABLE = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What was seen.

    Attributes:
        predicted: (N,) index of the label named for each image; -1 where it can't be decoded.
        accuracy: Share named right.
        interval_95: 95 % interval of it, low and high.
    """

    predicted: npt.NDArray[np.int64]
    accuracy: float
    interval_95: tuple[float, float]

    def agreement(self, other: Judgement) -> float:
        """Share of the images that can be decoded on which both name the same label."""
        seen = self.predicted != UNREADABLE
        return float(np.mean(self.predicted[seen] == other.predicted[seen]))


def judge(
    session: Session, recipe: Recipe, samples: Sequence[Sample], labels: Sequence[str], progress: Progress, *, what: str
) -> Judgement:
    """Classify every image.

    Args:
        session: The session that would serve.
        recipe: Bytes to tensor.
        samples: Labelled images.
        labels: In the order of the outputs.
        progress: Told how far it is.
        what: Is judged, for people.

    Raises:
        ConversionError: When none can be decoded.
    """
    predicted = []
    with progress.phase(f"Judging {what}", len(samples)) as step:
        for sample in samples:
            predicted.append(_classify(session, recipe, sample))
            step()
    index = {label: number for number, label in enumerate(labels)}
    right = sum(index[sample.label] == found for sample, found in zip(samples, predicted, strict=True))
    usable = sum(found != UNREADABLE for found in predicted)
    if not usable:
        raise ConversionError("none of the held-out images can be decoded", hint="look at the run's report.html")
    return Judgement(
        predicted=np.array(predicted, np.int64), accuracy=right / usable, interval_95=wilson(right, usable)
    )


def _classify(session: Session, recipe: Recipe, sample: Sample) -> int:
    try:
        tensor = recipe.tensor(sample.path.read_bytes())
    except ImageError:  # training left it out too
        return UNREADABLE
    return int(np.argmax(session.run(tensor[np.newaxis])[0][0]))
