"""The images that an int8 graph is fitted to, picked on and judged on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from converters.int8.evidence import AGREEMENT_IMAGES, AllowedLoss, can_pass
from converters.int8.labelled_split import AT_MOST, LabelledSplit, load_labelled, without_images
from converters.int8.unlabelled import find_unlabelled
from converters.settings import ConvertSettings
from converters.source.model_source import ModelSource
from eaves.artifact.conversion_results import INT8
from eaves.base.statistics import images_needed
from eaves.errors import ConversionError
from trainer.progress import TrainingProgress

PICKING_IMAGES = 200
"""Images of the training side, beside those of calibration, that a candidate is picked on."""

FEWEST_TO_PICK = 50
"""Where fewer images are left beside those of calibration, one is picked on both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Int8Images:
    """Images by what they are for; none is in two groups but those to calibrate and to pick on, where there are few.

    Attributes:
        calibration: Ranges are measured on them.
        picking: A candidate is picked on them.
        labelled: The picked one is judged on them, first by their labels.
        unlabelled: It is judged on them and the labelled ones by agreement with fp32.
    """

    calibration: tuple[Path, ...]
    picking: tuple[Path, ...]
    labelled: LabelledSplit
    unlabelled: tuple[Path, ...]


def find_images(source: ModelSource, settings: ConvertSettings, cache: Path, progress: TrainingProgress) -> Int8Images:
    """Find the images that int8 is fitted to, picked on and judged on.

    Args:
        source: The model.
        settings: The conversion's.
        cache: Local folder for labelled images that are downloaded or unpacked.
        progress: Told how far it is.

    Raises:
        ConversionError: When there are too few, or they can't decide and nobody asked for int8 anyway.
    """
    count = settings.calibration_images
    try:
        labelled = load_labelled(source, settings.data, images=count + PICKING_IMAGES, cache=cache, progress=progress)
    except ConversionError as error:
        if not settings.unlabelled:
            raise
        labelled = without_images(source, error)
    unlabelled = find_unlabelled(
        settings.unlabelled,
        known=labelled.trained | {sample.sha256 for sample in labelled.judged},
        looks=labelled.looks,
        at_most=AT_MOST - len(labelled.judged),
        progress=progress,
    )
    fitted = labelled.calibration
    if not fitted:  # photos serve as well, and those that int8 is fitted to judge nothing
        fitted, unlabelled = unlabelled[: count + PICKING_IMAGES], unlabelled[count + PICKING_IMAGES :]
    if not fitted:
        raise ConversionError("there are no images of the training side, and no photos, to calibrate on")
    total, allowed = len(labelled.judged) + len(unlabelled), AllowedLoss.of(settings)
    if settings.precision != INT8 and not can_pass(len(labelled.judged), total, allowed):
        raise ConversionError(
            f"{len(labelled.judged)} labelled images that were held out can't show that it loses at most "
            f"{settings.max_accuracy_drop:g} points: at least {images_needed(0.0, allowed.drop)} can, or "
            f"{AGREEMENT_IMAGES} photos with or without labels (convert.unlabelled)"
        )
    picking = fitted[count:] if len(fitted) >= count + FEWEST_TO_PICK else fitted
    return Int8Images(calibration=fitted[:count], picking=picking, labelled=labelled, unlabelled=unlabelled)
