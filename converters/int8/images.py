"""Finds the images that int8 is fitted to, selected on and assessed on; it is never assessed on images of training.

Labelled images are on the sides that the model's run stores. Photos without labels may be added to the assessment.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from converters.evaluation.images import find_copies
from converters.int8.evidence import AGREEMENT_IMAGES, can_pass
from converters.model_source import ModelSource
from converters.settings import ConvertSettings
from eaves.artifact.manifest import INT8
from eaves.base.statistics import images_needed
from eaves.dataset_folder import Split
from eaves.errors import ConversionError, DatasetError, RunError, StorageError
from eaves.media_type import UNKNOWN
from trainer.data.dataset import find_local, read_images, read_once
from trainer.data.drawn_defects import load_drawn
from trainer.data.groups import group_copies
from trainer.data.listing import LabelledImage, Listing
from trainer.data.near_duplicates import ImageFingerprint
from trainer.data.splitting import SplitEntry, find_trained_mates, load_split
from trainer.progress import TrainingProgress
from trainer.settings import DataSettings

MAX_IMAGES = 5000
"""Maximum number of images that int8 is assessed on. That many can show that the loss is at most 1 percentage point if
6 % of the answers differ from fp32's. Inception V3 takes 7 minutes for them."""
DECLARED_SHARE = 0.5
"""Share of images on which int8 is assessed if the model was trained on none of them; the others are used for
calibration."""
PICKING_IMAGES = 200
"""Number of training images, other than the calibration images, on which a candidate is selected."""
MIN_PICKING_IMAGES = 50
"""Minimum number of training images, other than the calibration images, on which a candidate is selected; if there are
fewer, the calibration images are used for the selection too."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Int8Images:
    """Images by purpose; no image has two purposes, except calibration and selection if there are few images.

    Attributes:
        calibration: Training images on which ranges are measured.
        judged: Held-out images with their labels, on which the selected candidate is assessed first.
        picking: Training images on which a candidate is selected.
        unlabelled: Images without labels on which, with the labelled ones, its agreement with fp32 is assessed.
        trained: sha256 of every image of the training side, hex.
        looks: Fingerprints of the images of both sides, except images that can't be decoded or are flat.
    """

    calibration: tuple[Path, ...]
    judged: tuple[LabelledImage, ...]
    picking: tuple[Path, ...] = ()
    unlabelled: tuple[Path, ...] = ()
    trained: frozenset[str] = frozenset()
    looks: tuple[ImageFingerprint, ...] = ()

    def digest(self) -> str:
        """Return the sha256 of the assessed images and their labels, hex."""
        lines = "".join(f"{image.digest} {image.label}\n" for image in self.judged)
        return hashlib.sha256(lines.encode()).hexdigest()


def find_images(source: ModelSource, settings: ConvertSettings, cache: Path, progress: TrainingProgress) -> Int8Images:
    """Find the images that int8 is fitted to, selected on and assessed on; downloads are stored in `cache`.

    Raises:
        ConversionError: There are no images to fit int8 to, or too few to show that int8 is accurate enough. Too few
            images are no error when the precision is set to int8.
    """
    count, drop = settings.calibration_images, settings.max_accuracy_drop
    found = load_labelled(source, settings.data, images=count + PICKING_IMAGES, cache=cache, progress=progress)
    known = found.trained | {image.digest for image in found.judged}
    most, fitted = MAX_IMAGES - len(found.judged), found.calibration
    unlabelled = find_unlabelled(settings.unlabelled, known=known, looks=found.looks, at_most=most, progress=progress)
    if not fitted:
        raise ConversionError("there are no training images to calibrate int8 on")
    if settings.precision != INT8 and not can_pass(len(found.judged), len(found.judged) + len(unlabelled), drop / 100):
        raise ConversionError(
            f"{len(found.judged)} held-out labelled images are too few to show that int8 loses at most {drop:g} "
            f"points: it takes at least {images_needed(0.0, drop / 100)}, or {AGREEMENT_IMAGES} photos with or without "
            "labels (convert.unlabelled)"
        )
    picking = fitted[count:] if len(fitted) >= count + MIN_PICKING_IMAGES else fitted
    return replace(found, calibration=fitted[:count], picking=picking, unlabelled=unlabelled)


def load_labelled(
    source: ModelSource, data: str, *, images: int, cache: Path, progress: TrainingProgress
) -> Int8Images:
    """Find the labelled images of a model, on the sides that its run stores.

    Int8 is never assessed on an image that the run was trained on, nor on one in whose group an image of its class
    was. Images that are neither training nor held-out images of the run are left out. If none of the images is the
    run's, they count as another dataset, of which half is used for the assessment, as with the images of a declared
    model.

    Args:
        source: The model to convert.
        data: Path or URI of the labelled images; empty means the model's own.
        images: Maximum number of images to calibrate on.
        cache: Local folder for downloaded and unpacked files.
        progress: Receives the phases and their steps.

    Raises:
        ConversionError: There are no images, they have other classes, or the run's list of its images can't be read.
    """
    place = data or source.data_path
    hint = "set convert.data to the folder of the labelled images"
    if not place:
        raise ConversionError("the location of the labelled images is not known", hint=hint)
    try:
        path, _ = find_local(DataSettings(path=place), cache=cache, progress=progress)
        listing, seen, _ = read_images(path, progress, good=source.good)
    except (DatasetError, StorageError) as error:
        raise ConversionError(f"the labelled images can't be read: {error.message}", hint=hint) from error
    if set(listing.labels) != set(source.labels):
        raise ConversionError(
            f"the classes in {place} ({', '.join(listing.labels[:5])}) are not those of the model "
            f"({', '.join(source.labels[:5])})",
            hint=hint,
        )
    split: Mapping[str, SplitEntry] = {}
    if source.route == "run":
        try:
            split = load_split(source.model.parent)
        except RunError as error:
            raise ConversionError(error.message, hint=error.hint) from error
    sides, groups = _choose_sides(split, listing, seen, progress)
    ordered = sorted((item for item in seen if not item.fault), key=lambda item: item.digest)
    mates = find_trained_mates(split)
    held_out = [item for item in ordered if sides.get(item.digest) == "val" and item.digest not in mates]
    if source.good:
        held_out += load_drawn(source.model.parent, split)
    return Int8Images(
        calibration=tuple(item.path for item in ordered if sides.get(item.digest) == "train")[:images],
        judged=tuple(replace(item, group=groups.get(item.digest, item.digest)) for item in held_out[:MAX_IMAGES]),
        trained=frozenset(digest for digest, side in sides.items() if side == "train"),
        looks=tuple(item.look for item in ordered if item.look is not None and item.digest in sides),
    )


def _choose_sides(
    split: Mapping[str, SplitEntry], listing: Listing, seen: Sequence[LabelledImage], progress: TrainingProgress
) -> tuple[Mapping[str, Split], Mapping[str, str]]:
    """Return the side of each usable image and the group of each image in one, by digest: as in training, if known."""
    present = {item.digest for item in seen}
    sides: dict[str, Split] = {digest: entry.split for digest, entry in split.items()}
    if present & sides.keys():
        held_out = {digest for digest, side in sides.items() if side == "val"}
        if gone := len(held_out - present):
            _log.warning(
                "%d of the %d images that the run held out no longer exist; int8 is judged on the others",
                gone,
                len(held_out),
            )
        return sides, {digest: entry.group for digest, entry in split.items() if entry.group}
    alike = group_copies(seen, "similar", progress)
    groups = {seen[position].digest: seen[group[0]].digest for group in alike.groups for position in group}
    for item in seen:
        declared = (item.split or "train") if listing.declared else None
        # Of a group of which the model was trained on no image, a hash of its name draws the side.
        name = f"0:{groups.get(item.digest, item.digest)}"
        drawn = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64
        sides[item.digest] = declared or ("val" if drawn < DECLARED_SHARE else "train")
    return sides, groups


def find_unlabelled(
    folder: str, *, known: Collection[str], looks: Sequence[ImageFingerprint], at_most: int, progress: TrainingProgress
) -> tuple[Path, ...]:
    """Find the photos of a folder and its subfolders, without copies, in an order that the files' contents decide.

    Copies of one photo (other bytes, another encoding or size) count as one, because they would give the same answer.
    Pictures of one colour can't be distinguished from copies and are left out, as are pictures that can't be decoded.

    Args:
        folder: Local folder; empty means no photos.
        known: sha256 of the images that are left out, hex: training images, and images with labels.
        looks: Fingerprints of these images as far as they exist; copies of them are left out too.
        at_most: Maximum number of photos, one of each content, that are compared and returned.
        progress: Receives one step for each file.

    Raises:
        ConversionError: The folder can't be read.
    """
    if not folder:
        return ()
    hint = "set convert.unlabelled to a folder of photos"
    root = Path(folder)
    if not root.is_dir():
        raise ConversionError(f"the photos without labels can't be read: {folder} is not a folder", hint=hint)
    files = sorted(path for path in root.rglob("*") if path.is_file() and not path.name.startswith("."))
    entries = tuple(LabelledImage(path=path, label="", below=PurePosixPath(path.name)) for path in files)
    listing = Listing(root=root, labels=(), entries=entries, faults=(), declared=False)
    photos = sorted(read_once(listing, [], progress), key=lambda photo: photo.digest)
    photos = [photo for photo in photos if photo.media_type != UNKNOWN and photo.digest not in known][:at_most]
    of_known, of_photo = find_copies([photo.look for photo in photos], looks, progress=progress)
    copied, undecided = of_known | of_photo, np.array([photo.look is None for photo in photos], np.bool_)
    different = tuple(photo.path for photo, other in zip(photos, copied | undecided, strict=True) if not other)
    if len(different) < len(photos):
        _log.warning(
            "%d of %d photos without labels differ and can judge int8: %d are copies of others or of labelled "
            "images, and %d have only one colour or can't be read",
            len(different),
            len(photos),
            int(copied.sum()),
            int(undecided.sum()),
        )
    return different
