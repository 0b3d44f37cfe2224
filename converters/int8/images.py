"""Finds the images that an int8 graph is fitted to, selected on and assessed on."""

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
"""Number of training images, other than the calibration images, on which a candidate is selected."""

FEWEST_TO_PICK = 50
"""Minimum number of training images, other than the calibration images, on which a candidate is selected; if there are
fewer, the calibration images are used for the selection too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Int8Images:
    """Images by purpose; no image has two purposes, except calibration and selection if there are few images.

    Attributes:
        calibration: Images on which ranges are measured.
        picking: Images on which a candidate is selected.
        labelled: Images with labels on which the selected candidate is assessed first.
        unlabelled: Images without labels on which, with the labelled ones, its agreement with fp32 is assessed.
    """

    calibration: tuple[Path, ...]
    picking: tuple[Path, ...]
    labelled: LabelledSplit
    unlabelled: tuple[Path, ...]


def find_images(source: ModelSource, settings: ConvertSettings, cache: Path, progress: TrainingProgress) -> Int8Images:
    """Find the images that int8 is fitted to, selected on and assessed on.

    Args:
        source: The model to convert.
        settings: Settings of the conversion.
        cache: Local folder for labelled images that are downloaded or unpacked.
        progress: Receives the phases and their steps.

    Raises:
        ConversionError: There are no images to fit int8 to, or too few to show that int8 is accurate enough. Too few
            images are no error when the precision is set to int8.
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
    if not fitted:  # photos can be used too, but those that int8 is fitted to can't assess it
        fitted, unlabelled = unlabelled[: count + PICKING_IMAGES], unlabelled[count + PICKING_IMAGES :]
    if not fitted:
        raise ConversionError("there are no training images and no photos without labels to calibrate int8 on")
    total, allowed = len(labelled.judged) + len(unlabelled), AllowedLoss.of(settings)
    if settings.precision != INT8 and not can_pass(len(labelled.judged), total, allowed):
        raise ConversionError(
            f"{len(labelled.judged)} held-out labelled images are too few to show that int8 loses at most "
            f"{settings.max_accuracy_drop:g} points: it takes at least {images_needed(0.0, allowed.drop)}, or "
            f"{AGREEMENT_IMAGES} photos with or without labels (convert.unlabelled)"
        )
    picking = fitted[count:] if len(fitted) >= count + FEWEST_TO_PICK else fitted
    return Int8Images(calibration=fitted[:count], picking=picking, labelled=labelled, unlabelled=unlabelled)
