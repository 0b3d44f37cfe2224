"""Computes the features of some images with the backbone of a candidate, and measures what they cost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from eaves.errors import DatasetError, ImageError
from eaves.resource_limits import count_usable_cpus
from trainer.data.dataset import Example
from trainer.features.feature_cache import FeatureCache, cache_key
from trainer.progress import TrainingProgress
from trainer.selection.candidates import Candidate
from trainer.storage import FileStore
from trainer.tensorflow_notices import native_stderr

TIMED = 8
"""Number of images on which the processor time of one is measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateFeatures:
    """Features of some images, and what they cost.

    Attributes:
        values: (N, features) float32.
        cpu_ms: Processor time that TensorFlow takes for one image, ms.
        megabytes: Size of the backbone's weights as 32-bit floats, MB (10^6 bytes).
        seconds: Duration of it all, s.
    """

    values: npt.NDArray[np.float32]
    cpu_ms: float
    megabytes: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureReader:
    """Computes features of images that are read from their files; what was computed once comes from the cache.

    Attributes:
        store: Storage of cached features; the pass of a frozen backbone finds those of the selected candidate there.
        progress: Receives one step for each image that a network sees.
    """

    store: FileStore
    progress: TrainingProgress

    def compute(self, candidate: Candidate, examples: Sequence[Example]) -> CandidateFeatures:
        """Compute the features of the images for one candidate.

        Raises:
            ConfigError: The candidate's weights can't be loaded.
            DatasetError: An image can't be decoded, or no longer be read.
        """
        from trainer.model.keras_model import build_backbone, weights_digest

        started, settings, scale = time.monotonic(), candidate.settings, candidate.scale
        recipe = settings.recipe(scale)
        with native_stderr():
            backbone = build_backbone(settings)
        values = np.empty((len(examples), *backbone.output_shape[1:]), np.float32)
        key = cache_key(recipe=recipe.digest(), scale=scale.name, backbone=weights_digest(backbone), layer="backbone")

        def decode(example: Example) -> npt.NDArray[np.uint8]:
            try:
                return np.asarray(recipe.tensor(example.path.read_bytes()))
            except (ImageError, OSError) as error:
                reason = error.message if isinstance(error, ImageError) else error.strerror
                raise DatasetError(
                    f"{example.path} can't be read at {recipe.height} pixels: {reason}", hint="remove the image"
                ) from error

        with ThreadPoolExecutor(max_workers=count_usable_cpus()) as pool:

            def read(rows: Sequence[int]) -> npt.NDArray[np.float32]:
                return scale.apply(np.stack(list(pool.map(decode, [examples[row] for row in rows]))))

            network = _CompiledNetwork(backbone)
            FeatureCache(self.store, key).compute(
                network,
                read,
                [example.digest for example in examples],
                values,
                batch_size=settings.batch_size,
                progress=self.progress,
                title=f"Comparing {settings.arch}, {recipe.height} pixels, {scale.name}",
            )
            cpu_ms = _measure_cpu_ms(network, read(range(min(TIMED, len(examples)))))
        return CandidateFeatures(
            values=values,
            cpu_ms=cpu_ms,
            megabytes=backbone.count_params() * 4 / 1e6,
            seconds=time.monotonic() - started,
        )


class _CompiledNetwork:
    """A network that is compiled once, for batches of any size; Keras compiles again for each size, and warns of it."""

    def __init__(self, network: Any) -> None:
        import tensorflow as tf

        images = tf.TensorSpec((None, *network.input_shape[1:]), tf.float32)
        self._compute = tf.function(lambda inputs: network(inputs, training=False), input_signature=[images])

    def predict_on_batch(self, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return np.asarray(self._compute(inputs))


def _measure_cpu_ms(network: _CompiledNetwork, inputs: npt.NDArray[np.float32]) -> float:
    network.predict_on_batch(inputs)  # the first call compiles
    started = time.process_time()
    network.predict_on_batch(inputs)
    return (time.process_time() - started) * 1000 / len(inputs)
