"""Chooses the scale for `train.scale: auto` by the setting, Keras's digests, the unfinished run or a probe."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trainer.data.pixels import DecodedDataset
from trainer.features.feature_cache import Array, FeatureCache, cache_key
from trainer.features.sharding import Shard
from trainer.pixel_scale.brightness import measure_brightness
from trainer.pixel_scale.keras_digests import is_published_by_keras
from trainer.pixel_scale.probe import Right, choose_scale_by_probe, score_features
from trainer.pixel_scale.probe_images import LEAST_IMAGES, select_images
from trainer.pixel_scale.scale_choice import ScaleChoice
from trainer.pixel_scale.scales import SCALES, Scale
from trainer.pixel_scale.stored_choice import SCALE_FILE, load_choice, save_choice, wait_for_choice
from trainer.progress import TrainingProgress
from trainer.settings import TrainSettings
from trainer.storage import FileStore

FIRST_IMAGES = 32
"""Maximum number of images on which the distance of the first features is measured; few images suffice, because each
has thousands of pixels."""

_logger = logging.getLogger(__name__)


def choose_scale(
    settings: TrainSettings,
    decoded: DecodedDataset,
    backbone: Any,
    *,
    backbone_sha256: str,
    features: FileStore,
    unfinished: FileStore,
    fingerprint: str,
    is_finished: Callable[[], bool],
    progress: TrainingProgress,
    share: Shard | None = None,
) -> ScaleChoice:
    """Choose the scale of a training; for a file of weights, log the choice.

    Args:
        settings: Settings of the training.
        decoded: The decoded images.
        backbone: Keras model from scaled floats to features.
        backbone_sha256: Digest of the backbone's weights.
        features: Storage of cached features.
        unfinished: Storage of this run's checkpoints; the scale that the run began with is stored beside them.
        fingerprint: Fingerprint of the training.
        is_finished: Function that returns whether the run of this training exists; a pod that waits for the first pod
            calls it.
        progress: Receives one step for each probed image.
        share: Share of this pod in an Indexed Job; the first pod probes, the others wait for it. None means a single
            process.

    Raises:
        StorageError: The storage can't be read or written, the first pod stores no scale for too long, or the first pod
            trains on other images or with other settings.
        ShardDoneError: The run has come into existence while this pod waited.
    """
    if (choice := settle_scale(settings)) is None:
        if share is not None and share.index:
            choice = wait_for_choice(unfinished, fingerprint, progress, is_finished=is_finished)
        elif (choice := load_choice(unfinished, fingerprint)) is None:
            unfinished.delete(SCALE_FILE)  # a choice of an earlier training would end the pods that wait for this one
            choice = probe_scale(
                settings, decoded, backbone, backbone_sha256=backbone_sha256, features=features, progress=progress
            )
            save_choice(unfinished, fingerprint, choice)
    if settings.weights_kind == "file":
        level = logging.WARNING if choice.by == "undecided" else logging.INFO
        _logger.log(level, "%s", choice.render_line(), extra={"scale": choice.to_dict()})
    return choice


def settle_scale(settings: TrainSettings) -> ScaleChoice | None:
    """Return the scale if it is known without measuring; None for a file of weights whose scale must be measured.

    A scale that isn't one of `SCALES` can't be measured, so the architecture's own is taken for a file too.
    """
    scale, file = settings.own_scale, Path(settings.weights)
    if settings.scale != "auto":
        unprobed = f", so {file.name} is not probed" if settings.weights_kind == "file" else ""
        return ScaleChoice(
            scale=scale, by="setting", reason=f"train.scale is {scale.name} (pixels {scale.words}){unprobed}"
        )
    if settings.weights_kind != "file" or scale.name not in SCALES:
        return ScaleChoice(
            scale=scale, by="architecture", reason=f"{settings.arch} expects {scale.name} (pixels {scale.words})"
        )
    if is_published_by_keras(settings.arch, file):
        reason = (
            f"{file.name} is the file that Keras publishes for {settings.arch}, which expects {scale.name} "
            f"(pixels {scale.words}), so it is not probed"
        )
        return ScaleChoice(scale=scale, by="keras", reason=reason)
    return None


def probe_scale(
    settings: TrainSettings,
    decoded: DecodedDataset,
    backbone: Any,
    *,
    backbone_sha256: str,
    features: FileStore,
    progress: TrainingProgress,
) -> ScaleChoice:
    """Measure on training images which scale a file of weights was trained with.

    Args:
        settings: Settings of the training, which name the file of weights.
        decoded: The decoded images.
        backbone: Keras model from scaled floats to features.
        backbone_sha256: Digest of the backbone's weights.
        features: Storage of cached features; the pass of a frozen backbone reuses those of the chosen scale, and the
            next training's probe reuses all of them.
        progress: Receives one step for each probed image.
    """
    from trainer.pixel_scale.first_features import measure_distances

    file, rows = Path(settings.weights).name, select_images(decoded.dataset.examples)
    pixels = decoded.pixels[rows[:: max(1, math.ceil(len(rows) / FIRST_IMAGES))]]
    distances = measure_distances(backbone, pixels, SCALES) or {}
    right: dict[str, Right] = {}
    if len(rows) >= LEAST_IMAGES:
        groups = [decoded.dataset.examples[row].group for row in rows]
        for scale in SCALES.values():
            values = _compute(settings, decoded, backbone, rows, scale, backbone_sha256, features, progress)
            right[scale.name] = score_features(values, decoded.labels[rows], groups)
    return choose_scale_by_probe(
        right, distances, measure_brightness(pixels), own=settings.own_scale, images=len(rows), file=file
    )


def _compute(
    settings: TrainSettings,
    decoded: DecodedDataset,
    backbone: Any,
    rows: Sequence[int],
    scale: Scale,
    backbone_sha256: str,
    features: FileStore,
    progress: TrainingProgress,
) -> Array:
    """Return the backbone's features of the images at `rows` under one scale, (rows, features).

    Cached features are not computed again.
    """
    key = cache_key(
        recipe=settings.recipe(scale).digest(), scale=scale.name, backbone=backbone_sha256, layer="backbone"
    )
    values = np.empty((len(rows), *backbone.output_shape[1:]), np.float32)
    FeatureCache(features, key).compute(
        backbone,
        lambda wanted: scale.apply(decoded.pixels[[rows[position] for position in wanted]]),
        [decoded.dataset.examples[row].digest for row in rows],
        values,
        batch_size=settings.batch_size,
        progress=progress,
        title=f"Probing scale {scale.name}",
    )
    return values
