"""Lists the input sizes and pixel scales that a training can begin with, and computes features of images with one."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from eaves.errors import DatasetError, ImageError
from eaves.resource_limits import count_usable_cpus
from trainer.data.dataset import Example
from trainer.feature_cache import FeatureCache, cache_key
from trainer.model.scales import SCALES, Scale
from trainer.progress import TrainingProgress
from trainer.settings import TrainSettings
from trainer.storage import FileStore
from trainer.tensorflow_notices import native_stderr

ENLARGED = 1.5
"""Maximum ratio of an input to the median shorter side of the pictures; a larger input would show nothing more."""
LOOKED_AT = 50
"""Maximum number of pictures whose size is read; their median size decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A backbone with the size and the pixel scale of its input.

    Attributes:
        settings: Settings of the training with the `image_size` of the candidate.
        scale: Pixel scale.
    """

    settings: TrainSettings
    scale: Scale

    @property
    def size(self) -> int:
        """Side of the input, pixels."""
        return self.settings.recipe().height


def list_candidates(settings: TrainSettings, files: Sequence[Path]) -> list[Candidate]:
    """List the inputs of a frozen backbone that may be trained, the smallest first; else only the settings' own.

    Args:
        settings: Settings of the training; their own scale stands for all scales that would have to be measured.
        files: The training images.
    """
    sizes, arch = [settings.image_size], settings.architecture
    if settings.frozen and not settings.image_size:
        side = _median_side(files) if arch.more_sizes else 0.0
        sizes = [arch.size, *(size for size in arch.more_sizes if size <= ENLARGED * side)]
    return [Candidate(settings=replace(settings, image_size=size), scale=settings.own_scale) for size in sizes]


def list_scales(candidate: Candidate) -> list[Candidate]:
    """List the candidate with every scale that its weights may expect; only itself if the scale is known.

    A scale that isn't one of `SCALES` can't be measured, so the architecture's own is taken for a file too.
    """
    settings = candidate.settings
    if settings.scale != "auto" or settings.weights_kind != "file" or candidate.scale.name not in SCALES:
        return [candidate]
    others = [scale for scale in SCALES.values() if scale != candidate.scale]
    return [candidate, *(replace(candidate, scale=scale) for scale in others)]


def compute_features(
    candidate: Candidate, examples: Sequence[Example], store: FileStore, progress: TrainingProgress
) -> npt.NDArray[np.float32]:
    """Compute the features, (N, features), of images that are read from their files.

    Args:
        candidate: The network.
        examples: The images.
        store: Storage of cached features; the pass of a frozen backbone finds those of the selected candidate there.
        progress: Receives one step for each image that the network sees.

    Raises:
        ConfigError: The candidate's weights can't be loaded.
        DatasetError: An image can't be decoded, or no longer be read.
    """
    from trainer.model.keras_model import build_backbone, weights_digest

    settings, scale = candidate.settings, candidate.scale
    recipe = settings.recipe(scale)
    with native_stderr():
        backbone = build_backbone(settings)
    values = np.empty((len(examples), *backbone.output_shape[1:]), np.float32)
    key = cache_key(recipe=recipe.digest(), scale=scale.name, backbone=weights_digest(backbone))

    def decode(row: int) -> npt.NDArray[np.uint8]:
        path = examples[row].path
        try:
            return np.asarray(recipe.tensor(path.read_bytes()))
        except (ImageError, OSError) as error:
            reason = error.message if isinstance(error, ImageError) else error.strerror
            raise DatasetError(
                f"{path} can't be read at {recipe.height} pixels: {reason}", hint="remove the image"
            ) from error

    with ThreadPoolExecutor(max_workers=count_usable_cpus()) as pool:
        FeatureCache(store, key).compute(
            _CompiledNetwork(backbone),
            lambda rows: scale.apply(np.stack(list(pool.map(decode, rows)))),
            [example.digest for example in examples],
            values,
            batch_size=settings.batch_size,
            progress=progress,
            title=f"Comparing {settings.arch}, {recipe.height} pixels, {scale.name}",
        )
    return values


class _CompiledNetwork:
    """A network that is compiled once, for batches of any size; Keras compiles again for each size, and warns of it."""

    def __init__(self, network: Any) -> None:
        import tensorflow as tf

        images = tf.TensorSpec((None, *network.input_shape[1:]), tf.float32)
        self._compute = tf.function(lambda inputs: network(inputs, training=False), input_signature=[images])

    def predict_on_batch(self, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return np.asarray(self._compute(inputs))


def _median_side(files: Sequence[Path]) -> float:
    """Return the median of the shorter sides of some pictures in pixels; 0 when no picture can be read."""
    sides = []
    for file in files[:: max(1, len(files) // LOOKED_AT)]:
        try:
            with Image.open(file) as picture:
                sides.append(min(picture.size))
        except (OSError, ValueError, Image.DecompressionBombError):  # training lists it as a fault
            continue
    return statistics.median(sides) if sides else 0.0
