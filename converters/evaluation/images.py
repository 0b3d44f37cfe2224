"""Finds labelled images that models were not trained on, without copies of images that they were trained on.

A copy, saved again in another encoding or size, has other bytes, so its digest does not tell that a model has seen it.
The fingerprints of the training images do, as far as these are still where the run found them.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from converters.evaluation.models import EvaluatedModel
from eaves.errors import DatasetError, RunError, StorageError
from eaves.labels import NOT_USABLE
from trainer.data.dataset import find_local, read_once, read_records
from trainer.data.listing import DataFault, LabelledImage, check_not_loose, judge_as_anomalies, load_listing
from trainer.data.near_duplicates import FingerprintIndex, ImageFingerprint
from trainer.data.splitting import (
    CONFIG,
    SPLIT_FILE,
    SplitEntry,
    find_trained,
    find_trained_mates,
    load_split,
    parse_lines,
)
from trainer.progress import SILENT, TrainingProgress
from trainer.run.run import MANIFEST, load_trained_on
from trainer.settings import DataSettings
from trainer.storage import FileStore

Marks = npt.NDArray[np.bool_]
MAX_SHOWN = 10
"""Maximum number of class names that an error message lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledImages:
    """The images that models are evaluated on.

    Attributes:
        images: The images, in order of class and path.
        faults: Faults of files that are left out because they can't be read as images.
        trained: Images that are left out because a model was trained on them.
        copies: Number of images that are left out because they are copies of images that a model was trained on.
        notes: One sentence without a full stop for each model whose training images are not known, or can't be read
            any more: how they were handled, and how to leave them out; and the notes of the listing.
        maybe_trained_on: Whether a model may have been trained on some of the images.
        is_audit: Whether the images are an audit sample: a class that a model doesn't know is answered wrongly.
    """

    images: tuple[LabelledImage, ...]
    faults: tuple[DataFault, ...]
    trained: tuple[LabelledImage, ...] = ()
    copies: int = 0
    notes: tuple[str, ...] = ()
    maybe_trained_on: bool = False
    is_audit: bool = False

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes that have an image, sorted."""
        return tuple(sorted({image.label for image in self.images}))

    @property
    def trained_on(self) -> int:
        """Number of images that are left out because a model was trained on them."""
        return len(self.trained)


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
    unknown, own = list[str](), {model.run_digest for model in models if model.run}
    for model in models:
        trained_on |= model.trained_on or frozenset()
        if model.trained_on is None and held_out_of is None and model.run_digest not in own:
            unknown.append(
                f"the {model.kind} {model.name} does not list the images that it was trained on (only a run lists "
                "them): all images are used, and the accuracy is overestimated if the model was trained on some of "
                "them; name the model's run (--held-out-of RUN), or evaluate it on images that it was not trained on"
            )
    good = next((model.good for model in models if model.good), "")
    found = load_labelled_images(path, trained_on, faults, good=good, progress=progress)
    runs = [run for run in (*(model.run for model in models), held_out_of) if run is not None]
    splits = [load_split(run) for run in runs if (run / SPLIT_FILE).is_file()]
    found = with_groups(replace(found, notes=(*unknown, *found.notes), maybe_trained_on=bool(unknown)), splits)
    data = [_find_data_settings(run) for run in runs]
    if any(one.get("near_copies") == "off" for one in data):  # different parts look alike
        return found
    return leave_out_copies(
        found, trained_on, (str(one.get("path", "")) for one in data), cache=cache, progress=progress
    )


def _find_data_settings(run: Path) -> Mapping[str, Any]:
    """Return the settings `data` of a run; empty when its config.json doesn't say them."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return dict(json.loads((run / CONFIG).read_text(encoding="utf-8"))["data"])
    return {}


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
    groups = {digest: entry.group for split in reversed(splits) for digest, entry in split.items()}
    return replace(found, images=tuple(replace(image, group=groups.get(image.digest, "")) for image in found.images))


def leave_out_copies(
    found: LabelledImages,
    trained_on: Collection[str],
    places: Iterable[str],
    *,
    cache: Path,
    progress: TrainingProgress,
) -> LabelledImages:
    """Return the images without copies of training images, with their number; training images that are gone are noted.

    Args:
        found: The images, and the training images among which they were.
        trained_on: sha256 of all images that the models were trained on, hex.
        places: Path or URI of each run's images, in which further training images are searched; empty where it is not
            known.
        cache: Folder for images that are downloaded or unpacked, as in training.
        progress: Receives one step for each file.

    Raises:
        DatasetError: All images are copies.
    """
    trained, reasons = {record.digest: record for record in found.trained}, list[str]()
    for place in dict.fromkeys(filter(None, places)):
        if trained.keys() >= set(trained_on):
            break
        try:
            path, _ = find_local(DataSettings(path=place), cache=cache, progress=progress)
            records = {record.digest: record for record in read_records(load_listing(path), [], progress)}
            trained |= {digest: records[digest] for digest in trained_on if digest in records}
        except (DatasetError, StorageError) as error:
            reasons.append(error.message)
    if missing := len(set(trained_on) - trained.keys()):
        note = (
            f"copies of {missing} of the {len(trained_on)} images that the model was trained on can't be recognised, "
            f"because these images can't be found any more" + (f" ({'; '.join(reasons)})" if reasons else "")
        )
        found = replace(found, notes=(*found.notes, note))
    known = [(record.look, record.label) for record in trained.values() if record.look is not None]
    if not known:
        return found
    copied, _ = find_copies(
        [image.look for image in found.images],
        [look for look, _ in known],
        labels=[*(label for _, label in known), *(image.label for image in found.images)],
        progress=progress,
    )
    left = tuple(image for image, copy in zip(found.images, copied, strict=True) if not copy)
    if not left:
        raise DatasetError(
            f"all {len(found.images)} images are copies of images that the model was trained on",
            hint="evaluate the model on images that it was not trained on",
        )
    return replace(found, images=left, copies=len(found.images) - len(left))


def find_copies(
    looks: Sequence[ImageFingerprint | None],
    known: Sequence[ImageFingerprint],
    *,
    progress: TrainingProgress,
    labels: Sequence[str] = (),
) -> tuple[Marks, Marks]:
    """Return whether each photo is a copy of a known image, and whether it is a copy of an earlier photo.

    Args:
        looks: Fingerprints of the photos.
        known: Fingerprints of the known images.
        progress: Receives one step for each photo.
        labels: Class of each known image, then of each photo; with it, shots by a fixed camera, which all look alike,
            are distinguished as in training. Empty when the photos have no labels.
    """
    every = [*known, *looks]
    seen = np.array([position for position, look in enumerate(every) if look is not None], dtype=np.int64)
    of_class = np.unique(labels, return_inverse=True)[1].astype(np.int64)[seen] if labels else None
    of_known, of_photo = (np.zeros(len(every), dtype=np.bool_) for _ in range(2))
    index = FingerprintIndex([look for look in every if look is not None], of_class, progress)
    for first, second in index.copies(fresh=len(known)) if looks else ():
        of_known[seen[second[first < len(known)]]] = True
        of_photo[seen[second[first >= len(known)]]] = True
    return of_known[len(known) :], of_photo[len(known) :]


def describe_left_out(found: LabelledImages) -> list[str]:
    """Return a line for people about the copies that are left out, and one for each note."""
    copies = f"{found.copies} images are left out: they are copies of images that the model was trained on"
    return [*([copies] if found.copies else []), *(f"note: {note}" for note in found.notes)]


def load_labelled_images(
    path: Path,
    trained_on: Collection[str] = (),
    faults: Collection[DataFault] = (),
    *,
    good: str = "",
    progress: TrainingProgress = SILENT,
) -> LabelledImages:
    """Find labelled images; in a folder with `train` and `val`, only the images in `val`.

    Args:
        path: A folder with one subfolder per class, a folder with such folders `train` and `val`, or a CSV or JSONL
            manifest.
        trained_on: sha256 of images that a model was trained on, hex; they are left out.
        faults: Faults of files that were left out already, when the images were downloaded.
        good: Name of the class of good images, for models of the task `anomaly`; empty for others.
        progress: Receives one step for each file.

    Raises:
        DatasetError: `path` can't be read, an image is in two classes, or no image is left.
    """
    listing = load_listing(path)
    check_not_loose(listing)
    held_out = (entry for entry in listing.entries if not (listing.declared and entry.split == "train"))
    listing = replace(listing, entries=tuple(sorted(held_out, key=lambda entry: (entry.label, entry.path))))
    not_used = [*faults, *listing.faults]
    if good:
        listing = judge_as_anomalies(listing, good)
    known = read_once(listing, not_used, progress)
    images = tuple(image for image in known if image.digest not in trained_on)
    if not images and known:
        raise DatasetError(
            f"the model was trained on all {len(known)} images in {path}",
            hint="evaluate the model on images that it was not trained on",
        )
    if not images:
        raise DatasetError(
            f"{path} has no labelled images", hint="name a folder with one subfolder of images per class"
        )
    trained = tuple(image for image in known if image.digest in trained_on)
    return LabelledImages(images=images, faults=tuple(not_used), trained=trained, notes=listing.notes)


def find_trained_on(version: str, runs: FileStore) -> frozenset[str] | None:
    """Return the digests of the images that a model was trained on; None when its run is not among these.

    Args:
        version: Version of the model.
        runs: Storage of runs, each in a folder.
    """
    for folder in runs.folders():
        store = runs.at(folder)
        with suppress(RunError, ValueError, KeyError, TypeError):  # something else, or a run of an older Eaves
            if store.exists(SPLIT_FILE) and json.loads(store.read(MANIFEST))["version"] == version:
                return find_trained(parse_lines(store.read(SPLIT_FILE).decode(), store.uri, SplitEntry))
    return None


def load_audit(path: Path, *, good: str = "", progress: TrainingProgress = SILENT) -> LabelledImages:
    """Load the labelled photos of the audit sample of a dataset's folder, which no model is trained on; maybe none.

    Args:
        path: The folder; a manifest has no audit sample.
        good: Name of the class of good images, for models of the task `anomaly`; empty for others.
        progress: Receives one step for each file.

    Raises:
        DatasetError: `path` can't be read, or an image has two labels.
    """
    listing, faults = load_listing(path), list[DataFault]()
    labelled = tuple(photo for photo in listing.audit if photo.label not in ("", NOT_USABLE))
    listing = replace(listing, entries=labelled, audit=())
    if good:
        listing = judge_as_anomalies(listing, good)
    images = read_once(listing, faults, progress)
    return LabelledImages(images=tuple(images), faults=tuple(faults), is_audit=True)


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
    return ", ".join(names[:MAX_SHOWN]) + (f" and {len(names) - MAX_SHOWN} more" if len(names) > MAX_SHOWN else "")
