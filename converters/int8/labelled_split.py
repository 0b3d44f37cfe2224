"""The labelled images that int8 is fitted to and judged on: never the same ones."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from converters.source.held_out import load_sides, load_stored_sides
from converters.source.model_source import ModelSource
from eaves.errors import ConversionError, DatasetError, StorageError
from trainer.data.listing import Split
from trainer.data.reading import DatasetImages, ImageRecord, find_local, read_images
from trainer.data.split.legacy_split import side_before
from trainer.data.split.near_duplicates import ImageFingerprint
from trainer.progress import TrainingProgress
from trainer.run.run import ParitySample
from trainer.settings import DataSettings

AT_MOST = 5000
"""Images judged on: they show a loss of at most 1 point where 6 % of answers differ. Inception V3 takes 7 minutes."""
DECLARED_SHARE = 0.5
"""Of images that the model was not trained on, the share judged on; the rest calibrates."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledSplit:
    """What int8 needs.

    Attributes:
        calibration: Images that training saw, for the ranges.
        judged: Held-out images with their labels.
        trained: sha256 hex of every image of the training side.
        looks: What the images of both sides look like; those that can't be decoded or are flat have none.
    """

    calibration: tuple[Path, ...]
    judged: tuple[ParitySample, ...]
    trained: frozenset[str] = frozenset()
    looks: tuple[ImageFingerprint, ...] = ()

    def digest(self) -> str:
        """sha256 over the judged images and their labels, hex."""
        lines = "".join(f"{sample.sha256} {sample.label}\n" for sample in self.judged)
        return hashlib.sha256(lines.encode()).hexdigest()


def load_labelled(
    source: ModelSource, data: str, *, images: int, cache: Path, progress: TrainingProgress
) -> LabelledSplit:
    """Find the labelled images of a model, on the sides that the run itself tells.

    An image that the run was trained on is never judged on. Images that the run doesn't know are left out, unless none
    are known: then they are another set, of which half is judged on, as of a declared model's samples.

    Args:
        source: The model.
        data: Where they are; empty: where the model says.
        images: How many to calibrate on, at most.
        cache: Local folder for what is downloaded or unpacked.
        progress: Told how far it is.

    Raises:
        ConversionError: When there are none, they have other classes, or the run doesn't tell what it held out.
    """
    place = data or source.data_path
    hint = "give the labelled images: convert.data"
    if not place:
        raise ConversionError("nothing says where the labelled images are", hint=hint)
    try:
        path, _ = find_local(DataSettings(path=place), cache=cache, progress=progress)
        found = read_images(path, progress)
    except (DatasetError, StorageError) as error:
        raise ConversionError(f"the labelled images can't be read: {error.message}", hint=hint) from error
    if found.listing.labels != tuple(sorted(source.labels)):
        raise ConversionError(
            f"{place} has the classes {', '.join(found.listing.labels[:5])}, the model {', '.join(source.labels[:5])}",
            hint=hint,
        )
    sides = _find_sides(source, found)
    ordered = sorted(found.seen, key=lambda item: item.digest)
    return LabelledSplit(
        calibration=tuple(item.entry.path for item in ordered if sides.get(item.digest) == "train")[:images],
        judged=tuple(_sample(item) for item in ordered if sides.get(item.digest) == "val")[:AT_MOST],
        trained=_trained(sides),
        looks=tuple(item.look for item in ordered if item.look is not None and item.digest in sides),
    )


def without_images(source: ModelSource, error: ConversionError) -> LabelledSplit:
    """What is known where the labelled images can't be read: of a run, which ones it was trained on.

    Args:
        source: The model.
        error: Why they can't be read.

    Raises:
        ConversionError: The run doesn't tell, so that a photo could be one that it was trained on.
    """
    trained: frozenset[str] = frozenset()
    if source.route == "run":
        stored = load_stored_sides(source.model.parent)
        if stored is None:
            raise ConversionError(
                f"{error.message}, and the photos without labels can't be used: {source.model.parent} keeps no list "
                "of the images that it was trained on, and these may be among the photos",
                hint=error.hint,
            ) from error
        trained = _trained(stored)
    return LabelledSplit(calibration=(), judged=(), trained=trained)


def _trained(sides: Mapping[str, Split]) -> frozenset[str]:
    return frozenset(digest for digest, side in sides.items() if side == "train")


def _find_sides(source: ModelSource, found: DatasetImages) -> Mapping[str, Split]:
    """Digest to side of the images that may be used; a warning tells how many held-out ones of the run are gone."""
    present = {item.digest for item in found.seen}
    sides: Mapping[str, Split] = {}
    if source.route == "run":
        sides = load_sides(source.model.parent, found)
        if present & sides.keys():
            held_out = {digest for digest, side in sides.items() if side == "val"}
            gone = len(held_out - present)
            if gone:
                _logger.warning(
                    "%d of the %d images that the run held out are no longer there; int8 is judged on the others",
                    gone,
                    len(held_out),
                )
            return sides
    if found.listing.declared:
        return {**sides, **{item.digest: item.entry.split or "train" for item in found.seen}}
    return {**sides, **{digest: side_before(digest, DECLARED_SHARE, 0) for digest in present}}


def _sample(item: ImageRecord) -> ParitySample:
    return ParitySample(path=item.entry.path, label=item.entry.label, sha256=item.digest)
