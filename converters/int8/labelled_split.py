"""Finds the labelled images that int8 is fitted to and assessed on; no image is in both groups."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from converters.source.held_out import load_groups, load_sides, load_stored_sides, load_trained_mates
from converters.source.model_source import ModelSource
from eaves.errors import ConversionError, DatasetError, StorageError
from trainer.data.listing import Split
from trainer.data.reading import DatasetImages, ImageRecord, find_local, read_images
from trainer.data.split.groups import group_copies
from trainer.data.split.near_duplicates import ImageFingerprint
from trainer.progress import TrainingProgress
from trainer.run.run import ParitySample
from trainer.settings import DataSettings

AT_MOST = 5000
"""Maximum number of images that int8 is assessed on. That many can show that the loss is at most 1 percentage point if
6 % of the answers differ from fp32's. Inception V3 takes 7 minutes for them."""
DECLARED_SHARE = 0.5
"""Share of images on which int8 is assessed if the model was trained on none of them; the others are used for
calibration."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledSplit:
    """Labelled images of a model: training images for calibration, held-out images for assessing int8.

    Attributes:
        calibration: Training images on which ranges are measured.
        judged: Held-out images with their labels, on which int8 is assessed.
        groups: Name of the group of each image that is in one, by its sha256.
        trained: sha256 of every image of the training side, hex.
        looks: Fingerprints of the images of both sides, except images that can't be decoded or are flat.
    """

    calibration: tuple[Path, ...]
    judged: tuple[ParitySample, ...]
    groups: Mapping[str, str] = field(default_factory=dict)
    trained: frozenset[str] = frozenset()
    looks: tuple[ImageFingerprint, ...] = ()

    def digest(self) -> str:
        """Return the sha256 of the assessed images and their labels, hex."""
        lines = "".join(f"{sample.sha256} {sample.label}\n" for sample in self.judged)
        return hashlib.sha256(lines.encode()).hexdigest()


def load_labelled(
    source: ModelSource, data: str, *, images: int, cache: Path, progress: TrainingProgress
) -> LabelledSplit:
    """Find the labelled images of a model, on the sides that its run stores.

    Int8 is never assessed on an image that the run was trained on, nor on one in whose group an image of its class
    was. Images that are neither training nor held-out images
    of the run are left out. If none of the images is the run's, they count as another dataset, of which half is used
    for the assessment, as with the images of a declared model.

    Args:
        source: The model to convert.
        data: Path or URI of the labelled images; empty means the model's own.
        images: Maximum number of images to calibrate on.
        cache: Local folder for downloaded and unpacked files.
        progress: Receives the phases and their steps.

    Raises:
        ConversionError: There are no images, they have other classes, or the run doesn't store which images it held
            out.
    """
    place = data or source.data_path
    hint = "set convert.data to the folder of the labelled images"
    if not place:
        raise ConversionError("the location of the labelled images is not known", hint=hint)
    try:
        path, _ = find_local(DataSettings(path=place), cache=cache, progress=progress)
        found = read_images(path, progress)
    except (DatasetError, StorageError) as error:
        raise ConversionError(f"the labelled images can't be read: {error.message}", hint=hint) from error
    if found.listing.labels != tuple(sorted(source.labels)):
        raise ConversionError(
            f"the classes in {place} ({', '.join(found.listing.labels[:5])}) are not those of the model "
            f"({', '.join(source.labels[:5])})",
            hint=hint,
        )
    groups = _find_groups(source, found, progress)
    sides = _find_sides(source, found, groups)
    ordered = sorted(found.seen, key=lambda item: item.digest)
    mates = load_trained_mates(source.model.parent) if source.route == "run" else frozenset()
    held_out = [item for item in ordered if sides.get(item.digest) == "val" and item.digest not in mates]
    return LabelledSplit(
        calibration=tuple(item.entry.path for item in ordered if sides.get(item.digest) == "train")[:images],
        judged=tuple(map(_sample, held_out))[:AT_MOST],
        groups=groups,
        trained=_trained(sides),
        looks=tuple(item.look for item in ordered if item.look is not None and item.digest in sides),
    )


def without_images(source: ModelSource, error: ConversionError) -> LabelledSplit:
    """Return a split without labelled images, for a model whose labelled images can't be read.

    The split only has the digests of the run's training images, so that photos without labels can be checked against
    them.

    Args:
        source: The model to convert.
        error: Error of reading the images.

    Raises:
        ConversionError: The run doesn't store its training images, so that a photo could be one of them.
    """
    trained: frozenset[str] = frozenset()
    if source.route == "run":
        stored = load_stored_sides(source.model.parent)
        if stored is None:
            raise ConversionError(
                f"{error.message}, and the photos without labels can't be used: the run {source.model.parent} "
                "does not list the images that it was trained on, and these may be among the photos",
                hint=error.hint,
            ) from error
        trained = _trained(stored)
    return LabelledSplit(calibration=(), judged=(), trained=trained)


def _trained(sides: Mapping[str, Split]) -> frozenset[str]:
    return frozenset(digest for digest, side in sides.items() if side == "train")


def _find_sides(source: ModelSource, found: DatasetImages, groups: Mapping[str, str]) -> Mapping[str, Split]:
    """Return the digest and side of each usable image; log a warning with the number of missing held-out images."""
    present = {item.digest for item in found.seen}
    sides: Mapping[str, Split] = {}
    if source.route == "run":
        sides = load_sides(source.model.parent)
        if present & sides.keys():
            held_out = {digest for digest, side in sides.items() if side == "val"}
            gone = len(held_out - present)
            if gone:
                _logger.warning(
                    "%d of the %d images that the run held out no longer exist; int8 is judged on the others",
                    gone,
                    len(held_out),
                )
            return sides
    if found.listing.declared:
        return {**sides, **{item.digest: item.entry.split or "train" for item in found.seen}}
    return {**sides, **{digest: _choose_side(groups.get(digest, digest)) for digest in present}}


def _find_groups(source: ModelSource, found: DatasetImages, progress: TrainingProgress) -> Mapping[str, str]:
    """Return the name of the group of each image that is in one, by its digest: as in training, if the run has it."""
    seen, labels = found.seen, found.listing.labels
    if source.route == "run" and not load_sides(source.model.parent).keys().isdisjoint(item.digest for item in seen):
        return load_groups(source.model.parent)
    alike = group_copies(
        [item.look for item in seen],
        [item.digest for item in seen],
        [labels.index(item.entry.label) for item in seen],
        "similar",
        progress,
    )
    return {seen[position].digest: seen[group[0]].digest for group in alike.groups for position in group}


def _choose_side(group: str) -> Split:
    """Return the side of a group of which the model was trained on no image, by a hash of its name."""
    number = int.from_bytes(hashlib.sha256(f"0:{group}".encode()).digest()[:8], "big")
    return "val" if number / 2**64 < DECLARED_SHARE else "train"


def _sample(item: ImageRecord) -> ParitySample:
    return ParitySample(path=item.entry.path, label=item.entry.label, sha256=item.digest)
