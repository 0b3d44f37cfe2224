"""Makes candidate int8 graphs of a model, the most quantised first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from converters.int8.calibration import calibrate
from converters.int8.equalizer import equalize
from converters.int8.quantizer import quantize, with_makers
from converters.int8.sensitivity import rank
from converters.previous_artifacts import find_calibrated, reuse_backbone
from eaves.artifact import Artifact
from eaves.errors import ImageError
from eaves.recipe import Recipe
from trainer.progress import TrainingProgress

RUNGS = (1, 2, 3, 4, 6, 8)
"""Numbers of the most sensitive layers that stay fp32; there is one candidate for each number. With more such layers
than the last number, int8 saves little time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Int8Candidate:
    """An int8 graph, and the names of its layers that stay fp32."""

    model: onnx.ModelProto
    kept: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Inputs from which int8 graphs are made.

    Attributes:
        prepared: The prepared graph.
        recipe: Recipe that turns an image's bytes into a tensor.
        calibration: Images on which the value ranges of the channels are measured.
        reduce_range: Whether weights have 7 bits.
        key: Result of `converters.previous_artifacts.calibration_key` for the prepared graph.
        previous: Artifacts whose int8 backbone may be reused.
        folder: Folder for intermediate files.
    """

    prepared: onnx.ModelProto
    recipe: Recipe
    calibration: Sequence[Path]
    reduce_range: bool
    key: str
    previous: tuple[Artifact, ...]
    folder: Path


def make_candidates(
    material: Material, progress: TrainingProgress, out_of_time: Callable[[], bool] = lambda: False
) -> Iterator[Int8Candidate]:
    """Yield int8 graphs, the fastest first; each is made on demand.

    Args:
        material: Inputs of the graphs.
        progress: Receives the phases and their steps.
        out_of_time: Function that returns whether to stop measuring the layers' sensitivity.
    """
    reduce_range = material.reduce_range
    previous = find_calibrated(material.previous, material.key)
    reused = reuse_backbone(previous, material.prepared) if previous is not None else None
    if previous is not None and reused is not None:
        yield Int8Candidate(model=reused, kept=previous.manifest.quantisation.trials[-1].kept_fp32)
    images: list[npt.NDArray[np.uint8]] = []
    model = onnx.ModelProto()
    model.CopyFrom(material.prepared)
    calibration = equalize(model, calibrate(model, _tensors(material, images, progress)))
    yield Int8Candidate(model=quantize(model, calibration, material.folder, reduce_range=reduce_range))
    ranked = rank(model, calibration, images, progress, reduce_range=reduce_range, out_of_time=out_of_time)
    keeps = (with_makers(model, ranked[:rung]) for rung in RUNGS if rung <= len(ranked))
    for kept in dict.fromkeys(keeps):  # the layers before one layer may be the next worst ones
        graph = quantize(model, calibration, material.folder, keep=kept, reduce_range=reduce_range)
        yield Int8Candidate(model=graph, kept=kept)


def _tensors(
    material: Material, images: list[npt.NDArray[np.uint8]], progress: TrainingProgress
) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield the input tensors of the calibration images, and add them to `images`."""
    with progress.phase("Calibrating", len(material.calibration)) as step:
        for path in material.calibration:
            step()
            try:
                images.append(material.recipe.tensor(path.read_bytes()))
            except ImageError:  # training has left the image out too
                continue
            yield images[-1]
