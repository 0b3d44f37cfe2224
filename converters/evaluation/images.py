"""Finds labelled images that models were not trained on, without copies of images that they were trained on.

A copy, saved again in another encoding or size, has other bytes, so its digest does not tell that a model has seen it.
The fingerprints of the training images do, as far as these are still where the run found them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from converters.evaluation.models import EvaluatedModel
from eaves.errors import DatasetError, StorageError
from eaves.media_type import UNKNOWN, sniff
from eaves.resource_limits import count_usable_cpus
from trainer.data import manifest
from trainer.data.folder import load_folder
from trainer.data.listing import DataFault, ListedImage, Listing, check_not_loose, in_two_classes, same_bytes
from trainer.data.manifest import load_manifest
from trainer.data.reading import find_local
from trainer.data.split.near_duplicates import FingerprintIndex, ImageFingerprint, compute_fingerprint
from trainer.data.split.stored_split import SPLIT_FILE, SplitEntry, find_trained_mates, parse_split
from trainer.progress import TrainingProgress
from trainer.run.run import CONFIG, load_trained_on
from trainer.settings import DataSettings

Marks = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedLooks:
    """Fingerprints of images that models were trained on.

    Attributes:
        looks: The fingerprints, without those of images that can't be decoded or are flat.
        labels: Name of the class of each of them.
        note: Sentence without a full stop about training images that can't be found any more; else empty.
    """

    looks: tuple[ImageFingerprint, ...] = ()
    labels: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoCopies:
    """What a comparison of photos with known images found.

    Attributes:
        undecided: Whether each photo has one colour or can't be decoded, so that its copies can't be recognised.
        of_known: Whether each photo is a copy of a known image.
        of_photo: Whether each photo is a copy of an earlier photo.
    """

    undecided: Marks
    of_known: Marks
    of_photo: Marks


def load_listing(path: Path) -> Listing:
    """List the images of a local folder or manifest.

    Raises:
        DatasetError: `path` can't be read.
    """
    is_manifest = path.name.lower().endswith(manifest.SUFFIXES) and not path.is_dir()
    return load_manifest(path) if is_manifest else load_folder(path)


def find_data_path(run: Path) -> str:
    """Return the path or URI of the images that a run was trained on; empty when its config.json doesn't say it."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return str(json.loads((run / CONFIG).read_text(encoding="utf-8"))["data"]["path"])
    return ""


def find_trained_looks(
    digests: Collection[str], given: Path, places: Iterable[str], *, cache: Path, progress: TrainingProgress
) -> TrainedLooks:
    """Compute the fingerprints of training images, as far as they are still there.

    Args:
        digests: sha256 of the images that the models were trained on, hex.
        given: Folder or manifest of the labelled images, in which they are searched first.
        places: Path or URI of each run's images, in which the others are searched; empty where it is not known.
        cache: Folder for images that are downloaded or unpacked, as in training.
        progress: Receives one step for each file.
    """
    looks, labels, missing = list[ImageFingerprint](), list[str](), set(digests)
    reasons = list[str]()
    for place in dict.fromkeys((str(given), *filter(None, places))):
        if not missing:
            break
        try:
            path, _ = find_local(DataSettings(path=place), cache=cache, progress=progress)
            for label, digest, look in _read(load_listing(path).entries, frozenset(missing), progress):
                if digest in missing and look is not None:
                    looks.append(look)
                    labels.append(label)
                missing.discard(digest)
        except (DatasetError, StorageError) as error:
            reasons.append(error.message)
    note = (
        f"copies of {len(missing)} of the {len(digests)} images that the model was trained on can't be recognised, "
        f"because these images can't be found any more" + (f" ({'; '.join(reasons)})" if reasons else "")
    )
    return TrainedLooks(looks=tuple(looks), labels=tuple(labels), note=note if missing else "")


def find_photo_copies(
    photos: Sequence[Path],
    known: Sequence[ImageFingerprint],
    *,
    title: str,
    progress: TrainingProgress,
    labels: Sequence[str] = (),
) -> PhotoCopies:
    """Find the photos that are copies of a known image or of an earlier photo.

    Args:
        photos: Files of the photos.
        known: Fingerprints of the known images.
        title: Title of the phase, for people.
        progress: Receives one step for each photo.
        labels: Class of each known image, then of each photo; with it, shots by a fixed camera, which all look alike,
            are distinguished as in training. Empty when the photos have no labels.
    """
    looks = list[ImageFingerprint | None]()
    with progress.phase(title, len(photos)) as step, ThreadPoolExecutor(max_workers=count_usable_cpus()) as pool:
        for look in pool.map(_look, photos):
            looks.append(look)
            step()
    every = [*known, *looks]
    seen = np.array([position for position, look in enumerate(every) if look is not None], dtype=np.int64)
    of_class = np.unique(labels, return_inverse=True)[1].astype(np.int64)[seen] if labels else None
    of_known, of_photo = (np.zeros(len(every), dtype=np.bool_) for _ in range(2))
    index = FingerprintIndex([look for look in every if look is not None], of_class, progress)
    for first, second in index.copies(fresh=len(known)) if photos else ():
        of_known[seen[second[first < len(known)]]] = True
        of_photo[seen[second[first >= len(known)]]] = True
    return PhotoCopies(
        undecided=np.array([look is None for look in looks], dtype=np.bool_),
        of_known=of_known[len(known) :],
        of_photo=of_photo[len(known) :],
    )


def _read(
    entries: Sequence[ListedImage], digests: frozenset[str], progress: TrainingProgress
) -> Iterator[tuple[str, str, ImageFingerprint | None]]:
    """Yield label, digest and fingerprint of every file whose digest is one of `digests`."""

    def read(entry: ListedImage) -> tuple[str, str, ImageFingerprint | None] | None:
        try:
            data = entry.path.read_bytes()
        except OSError:
            return None
        digest = hashlib.sha256(data).hexdigest()
        return (entry.label, digest, compute_fingerprint(data)) if digest in digests else None

    with (
        progress.phase("Reading training images", len(entries)) as step,
        ThreadPoolExecutor(max_workers=count_usable_cpus()) as pool,
    ):
        for found in pool.map(read, entries):
            step()
            if found is not None:
                yield found


def _look(path: Path) -> ImageFingerprint | None:
    try:
        return compute_fingerprint(path.read_bytes())
    except OSError:
        return None


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
        group: Name of the images that are right or wrong together: the image's group in the run's split if it is in
            one, else its digest.
    """

    path: Path
    name: str
    label: str
    digest: str
    group: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledImages:
    """The images that models are evaluated on.

    Attributes:
        images: The images, in order of class and path.
        faults: Faults of files that are left out because they can't be read as images.
        trained_on: Number of images that are left out because a model was trained on them.
        copies: Number of images that are left out because they are copies of images that a model was trained on.
        notes: One sentence without a full stop for each model whose training images are not known, or can't be read
            any more: how they were handled, and how to leave them out.
        maybe_trained_on: Whether a model may have been trained on some of the images.
    """

    images: tuple[LabelledImage, ...]
    faults: tuple[DataFault, ...]
    trained_on: int
    copies: int = 0
    notes: tuple[str, ...] = ()
    maybe_trained_on: bool = False

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes that have an image, sorted."""
        return tuple(sorted({image.label for image in self.images}))


def load_unseen_images(
    path: Path,
    models: Sequence[EvaluatedModel],
    held_out_of: Path | None,
    faults: Collection[DataFault] = (),
    *,
    cache: Path,
    progress: TrainingProgress,
) -> LabelledImages:
    """Find labelled images that models were not trained on, as far as that is known.

    Args:
        path: Folder or manifest, as `load_labelled_images` takes it.
        models: The models to evaluate.
        held_out_of: Run that the models were made from; None if no run is named.
        faults: Faults of files that were left out already, when the images were downloaded.
        cache: Folder for training images that are downloaded or unpacked, as in training.
        progress: Receives the phases and their steps.

    Raises:
        DatasetError: `path` can't be read, an image is in two classes, or no image is left.
        RunError: `held_out_of` is no run, or doesn't list its training images.
    """
    trained_on = set[str]() if held_out_of is None else set(load_trained_on(held_out_of))
    notes, unknown = list[str](), False
    for model in models:
        known = model.trained_on
        trained_on |= known or frozenset()
        if known is None and held_out_of is None:
            notes.append(_describe_unknown(model))
            unknown = True
    found = load_labelled_images(path, trained_on, faults)
    runs = [run for run in (*(model.run for model in models), held_out_of) if run is not None]
    looks = find_trained_looks(trained_on, path, map(find_data_path, runs), cache=cache, progress=progress)
    files = [run / SPLIT_FILE for run in runs]
    splits = [parse_split(file.read_text(encoding="utf-8"), str(file)) for file in files if file.is_file()]
    found = with_groups(replace(found, notes=tuple(notes)), splits)
    return replace(leave_out_copies(found, looks, progress), maybe_trained_on=unknown)


def with_groups(found: LabelledImages, splits: Sequence[Mapping[str, SplitEntry]]) -> LabelledImages:
    """Return the images with the names of their groups in the first of the splits that has them in a group.

    Held-out images in whose group an image of their class was trained on are left out, with a note.

    Raises:
        DatasetError: All images are left out.
    """
    mates = frozenset[str]().union(*map(find_trained_mates, splits))
    left = tuple(image for image in found.images if image.digest not in mates)
    if out := len(found.images) - len(left):
        why = "are in the group of an image that the model was trained on"
        if not left:
            raise DatasetError(f"all {out} images {why}", hint="evaluate the model on images of other groups")
        found = replace(found, images=left, notes=(*found.notes, f"{out} images are left out: they {why}"))
    groups = {digest: entry.group for split in reversed(splits) for digest, entry in split.items() if entry.group}
    images = tuple(replace(image, group=groups.get(image.digest, image.group)) for image in found.images)
    return replace(found, images=images)


def leave_out_copies(found: LabelledImages, trained: TrainedLooks, progress: TrainingProgress) -> LabelledImages:
    """Return the images without copies of training images, with their number, and with the note of `trained`.

    Raises:
        DatasetError: All images are copies.
    """
    if trained.note:
        found = replace(found, notes=(*found.notes, trained.note))
    if not trained.looks:
        return found
    copied = find_photo_copies(
        [image.path for image in found.images],
        trained.looks,
        title="Comparing with training images",
        progress=progress,
        labels=[*trained.labels, *(image.label for image in found.images)],
    ).of_known
    left = tuple(image for image, copy in zip(found.images, copied, strict=True) if not copy)
    if not left:
        raise DatasetError(
            f"all {len(found.images)} images are copies of images that the model was trained on",
            hint="evaluate the model on images that it was not trained on",
        )
    return replace(found, images=left, copies=len(found.images) - len(left))


def describe_left_out(found: LabelledImages) -> list[str]:
    """Return a line for people about the copies that are left out, and one for each note."""
    copies = f"{found.copies} images are left out: they are copies of images that the model was trained on"
    return [*([copies] if found.copies else []), *(f"note: {note}" for note in found.notes)]


def _describe_unknown(model: EvaluatedModel) -> str:
    return (
        f"the {model.kind} {model.name} does not list the images that it was trained on (only a run lists them): all "
        "images are used, and the accuracy is overestimated if the model was trained on some of them; name the model's "
        "run (--held-out-of RUN), or evaluate it on images that it was not trained on"
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
    listing = load_listing(path)
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
        image = LabelledImage(path=entry.path, name=name, label=entry.label, digest=digest, group=digest)
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
