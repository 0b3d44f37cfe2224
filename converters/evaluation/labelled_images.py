"""The labelled images that models are evaluated on."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from eaves.errors import DatasetError
from trainer.data import manifest
from trainer.data.folder import load_folder
from trainer.data.listing import DataFault
from trainer.data.manifest import load_manifest

SHOWN = 10
"""Most class names in a message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledImage:
    """One image and what it shows.

    Attributes:
        path: The file.
        name: Its path below the folder of all images, for people.
        label: Name of its class.
        digest: sha256 of its bytes, hex.
    """

    path: Path
    name: str
    label: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledImages:
    """The images that models are evaluated on.

    Attributes:
        images: In order of class and path.
        faults: Files that are left out because they are no images that can be read.
        trained_on: Number of images that are left out because a model was trained on them.
    """

    images: tuple[LabelledImage, ...]
    faults: tuple[DataFault, ...]
    trained_on: int

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes that have an image, sorted."""
        return tuple(sorted({image.label for image in self.images}))


def load_labelled_images(path: Path, trained_on: Collection[str] = ()) -> LabelledImages:
    """Find labelled images. Of a folder with `train` and `val` the held-out side is taken.

    Args:
        path: A folder per class, `train` and `val` with a folder per class each, or a CSV or JSONL manifest.
        trained_on: sha256 of images that a model was trained on, hex; they are left out.

    Raises:
        DatasetError: When `path` can't be read, or no image is left.
    """
    is_manifest = path.name.lower().endswith(manifest.SUFFIXES) and not path.is_dir()
    listing = load_manifest(path) if is_manifest else load_folder(path)
    faults = list(listing.faults)
    images: list[LabelledImage] = []
    left_out = 0
    for entry in sorted(listing.entries, key=lambda entry: (entry.label, entry.path)):
        if listing.declared and entry.split == "train":
            continue
        name = entry.path.relative_to(listing.root).as_posix()
        try:
            digest = _sha256(entry.path)
        except OSError as error:
            faults.append(DataFault(file=name, reason=f"can't be read: {error.strerror}"))
            continue
        if digest in trained_on:
            left_out += 1
        else:
            images.append(LabelledImage(path=entry.path, name=name, label=entry.label, digest=digest))
    if not images and left_out:
        raise DatasetError(
            f"the model was trained on all {left_out} images in {path}", hint="give images that it has not seen"
        )
    if not images:
        raise DatasetError(f"no labelled images in {path}", hint="name a folder with one subfolder of images per class")
    return LabelledImages(images=tuple(images), faults=tuple(faults), trained_on=left_out)


def check_labels(found: Collection[str], known: Sequence[str], model: str) -> None:
    """Raise when images have labels that a model can't answer: each of them would count as a mistake.

    Raises:
        DatasetError: With both lists.
    """
    unknown = sorted(set(found) - set(known))
    if unknown:
        raise DatasetError(
            f"{model} does not know the classes {_list(unknown)}; it knows {_list(known)}",
            hint="give each folder the name of one of the model's classes, or leave the folder out",
        )


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
