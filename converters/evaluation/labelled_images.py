"""Loads the labelled images that models are evaluated on."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from converters.evaluation.model import EvaluatedModel
from eaves.errors import DatasetError
from eaves.media_type import UNKNOWN, sniff
from trainer.data import manifest
from trainer.data.folder import load_folder
from trainer.data.listing import DataFault, check_not_loose, in_two_classes, same_bytes
from trainer.data.manifest import load_manifest
from trainer.data.split.stored_split import SPLIT_FILE

SHOWN = 10
"""Maximum number of class names that an error message lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledImage:
    """An image with its label.

    Attributes:
        path: Path of the file.
        name: Path of the file below the folder of all images, for people.
        label: Name of the image's class.
        digest: sha256 of the file's bytes, hex.
    """

    path: Path
    name: str
    label: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledImages:
    """The images that models are evaluated on.

    Attributes:
        images: The images, in order of class and path.
        faults: Faults of files that are left out because they can't be read as images.
        trained_on: Number of images that are left out because a model was trained on them.
        notes: One sentence without a full stop for each model whose training images are not known: how they were
            handled, and how to leave them out.
        maybe_trained_on: Whether a model may have been trained on some of the images.
    """

    images: tuple[LabelledImage, ...]
    faults: tuple[DataFault, ...]
    trained_on: int
    notes: tuple[str, ...] = ()
    maybe_trained_on: bool = False

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes that have an image, sorted."""
        return tuple(sorted({image.label for image in self.images}))


def load_unseen_images(
    path: Path,
    models: Sequence[EvaluatedModel],
    held_out_of: Collection[str] | None,
    faults: Collection[DataFault] = (),
) -> LabelledImages:
    """Find labelled images that models were not trained on, as far as that is known.

    Args:
        path: Folder or manifest, as `load_labelled_images` takes it.
        models: The models to evaluate.
        held_out_of: sha256 of the images that the models' run was trained on, hex; None if no run is named.
        faults: Faults of files that were left out already, when the images were downloaded.

    Raises:
        DatasetError: `path` can't be read, an image is in two classes, or no image is left.
    """
    trained_on, notes, unknown = set(held_out_of or ()), list[str](), False
    for model in models:
        known = model.trained_on
        trained_on |= known or frozenset()
        if known is None and held_out_of is None:
            notes.append(_describe_unknown(model))
            unknown = True
    return replace(load_labelled_images(path, trained_on, faults), notes=tuple(notes), maybe_trained_on=unknown)


def _describe_unknown(model: EvaluatedModel) -> str:
    if model.run is not None:
        why = f"it was made by an earlier version of Eaves and has no {SPLIT_FILE}"
        then = "train the model again, or evaluate it on images that it was not trained on"
    else:
        why = "only a run lists them"
        then = "name the model's run (--held-out-of RUN), or evaluate it on images that it was not trained on"
    return (
        f"the {model.kind} {model.name} does not list the images that it was trained on ({why}): all images are "
        f"used, and the accuracy is overestimated if the model was trained on some of them; {then}"
    )


def load_labelled_images(
    path: Path, trained_on: Collection[str] = (), faults: Collection[DataFault] = ()
) -> LabelledImages:
    """Find labelled images; in a folder with `train` and `val`, only the images in `val`.

    Args:
        path: A folder with one subfolder per class, a folder with such folders `train` and `val`, or a CSV or JSONL
            manifest.
        trained_on: sha256 of images that a model was trained on, hex; they are left out.
        faults: Faults of files that were left out already, when the images were downloaded.

    Raises:
        DatasetError: `path` can't be read, an image is in two classes, or no image is left.
    """
    is_manifest = path.name.lower().endswith(manifest.SUFFIXES) and not path.is_dir()
    listing = load_manifest(path) if is_manifest else load_folder(path)
    check_not_loose(listing)
    not_used = [*faults, *listing.faults]
    known: dict[str, LabelledImage] = {}
    contradictions: list[tuple[tuple[str, str], tuple[str, str]]] = []
    for entry in sorted(listing.entries, key=lambda entry: (entry.label, entry.path)):
        if listing.declared and entry.split == "train":
            continue
        name = entry.path.relative_to(listing.root).as_posix()
        try:
            data = entry.path.read_bytes()
        except OSError as error:
            not_used.append(DataFault(file=name, reason=f"the file can't be read: {error.strerror}"))
            continue
        digest = hashlib.sha256(data).hexdigest()
        image = LabelledImage(path=entry.path, name=name, label=entry.label, digest=digest)
        first = known.setdefault(digest, image)
        if first is not image:
            if first.label != image.label and sniff(data) != UNKNOWN:
                contradictions.append(((first.name, first.label), (name, image.label)))
            not_used.append(same_bytes(name, first.name))
    if contradictions:
        raise in_two_classes(contradictions)
    images = [image for image in known.values() if image.digest not in trained_on]
    left_out = len(known) - len(images)
    if not images and left_out:
        raise DatasetError(
            f"the model was trained on all {left_out} images in {path}",
            hint="evaluate the model on images that it was not trained on",
        )
    if not images:
        raise DatasetError(
            f"{path} has no labelled images", hint="name a folder with one subfolder of images per class"
        )
    return LabelledImages(images=tuple(images), faults=tuple(not_used), trained_on=left_out)


def check_labels(found: Collection[str], known: Sequence[str], model: str) -> None:
    """Check that a model knows all labels of the images; each unknown label would count as a mistake.

    Raises:
        DatasetError: The model doesn't know a label; the message has both lists.
    """
    unknown = sorted(set(found) - set(known))
    if unknown:
        raise DatasetError(
            f"{model} does not have the classes {_list(unknown)}; its classes are {_list(known)}",
            hint="rename each folder to one of the model's classes, or remove the folder",
        )


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
