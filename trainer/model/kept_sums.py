"""The sums that a run of `train.mode: sums` keeps, and how those of the next run follow from them.

    sums.npz          the sums over the training images; it may leave the site
    sums-images.csv   digest, class and group of each of these images, so that none goes in twice; it stays at the site

The next run on the same data reads the files of the run that it takes its split from, and computes only the features of
images that are new, or that have another class.
"""

from __future__ import annotations

import csv
import io
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

import numpy as np

from eaves.errors import EavesError, RunError
from trainer.data.dataset import Dataset
from trainer.data.listing import LabelledImage
from trainer.data.remote import redact_uri
from trainer.model.architectures import ARCHITECTURES, AUTO, SCALES
from trainer.model.feature_sums import CHUNK, Features, FeatureSums, SumsOrigin, merge_all
from trainer.model.sum_parts import SumParts
from trainer.settings import TrainSettings
from trainer.storage import FileStore, open_store

SUMS_FILE, IMAGES_FILE = "sums.npz", "sums-images.csv"

_log = logging.getLogger(__name__)

Compute = Callable[[Sequence[LabelledImage]], Features]
"""Function from images to their features, (N, D) float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptSums:
    """Sums over images, and which images they are.

    Attributes:
        sums: The sums.
        images: Class and group of each image, by the sha256 of its file.
    """

    sums: FeatureSums
    images: Mapping[str, tuple[str, str]]

    def files(self) -> dict[str, bytes]:
        """Return the content of the two files by their names."""
        out = io.StringIO(newline="")
        rows = csv.writer(out)
        rows.writerow(("digest", "label", "group"))
        rows.writerows((digest, *about) for digest, about in sorted(self.images.items()))
        return {SUMS_FILE: self.sums.to_bytes(), IMAGES_FILE: out.getvalue().encode(errors="surrogateescape")}


def load_kept_sums(uri: str) -> KeptSums | None:
    """Load the sums of a run; None when it has none, or they can't be used, which is logged."""
    store = open_store(uri) if uri else None
    if store is None or not store.exists(SUMS_FILE) or not store.exists(IMAGES_FILE):
        return None
    try:
        return _load(store)
    except EavesError as error:
        _log.warning("all images are summed again: %s", error.message)
        return None


def _load(store: FileStore) -> KeptSums:
    name = f"{redact_uri(store.uri).rstrip('/')}/{SUMS_FILE}"
    sums = FeatureSums.from_bytes(store.read(SUMS_FILE), name)
    text = store.read(IMAGES_FILE).decode(errors="surrogateescape")
    header, *rows = csv.reader(io.StringIO(text, newline=""))
    if header != ["digest", "label", "group"] or any(len(row) != 3 for row in rows):
        raise RunError(f"{name} has no usable list of images in {IMAGES_FILE}")
    images = {digest: (label, group) for digest, label, group in rows}
    if len(images) != round(sums.counts.sum()) or {label for label, _ in images.values()} - set(sums.labels):
        raise RunError(f"{name} has {sums.counts.sum():g} images, and {IMAGES_FILE} lists {len(images)}")
    return KeptSums(sums=sums, images=images)


def keep_candidate(settings: TrainSettings, uri: str) -> TrainSettings:
    """Return settings with the network, input size and scale of a run's sums, unless the user has set others.

    So its sums are used, and no candidates are compared again.
    """
    kept, store = load_kept_sums(uri), open_store(uri)
    about = json.loads(store.read("run.json")) if kept is not None and store.exists("run.json") else {}
    arch, scale = about.get("arch"), kept.sums.origin.scale if kept is not None else ""
    if arch not in ARCHITECTURES or settings.arch not in (AUTO, arch):
        return settings
    return replace(
        settings,
        arch=arch,
        image_size=settings.image_size or about["recipe"]["height"],
        scale=scale if settings.scale == AUTO and scale in SCALES else settings.scale,
    )


def update_sums(
    kept: KeptSums | None, dataset: Dataset, origin: SumsOrigin, compute: Compute, parts: SumParts | None = None
) -> KeptSums:
    """Return the sums over the training images of a dataset.

    Those of an earlier run are used when all of their images are still files of the dataset: the features of an image
    whose class has changed, or that is held out now, are subtracted, and those of new images are added.

    Args:
        kept: Sums of an earlier run; None without one.
        dataset: The images.
        origin: What the features are computed by.
        compute: Computes the features of some of them.
        parts: Pods that share the new images, of which this is the first; None: this process computes them all.
    """
    kept, added, gone = _find_changes(kept, dataset, origin)
    before, sum_up = kept.images if kept is not None else {}, partial(_sum_up, dataset, origin, compute)
    found = parts.sum_all(added, origin, sum_up) if parts is not None else (sum_up(added) for _ in added[:1])
    if kept is not None:
        sums = kept.sums.with_labels((*kept.sums.labels, *(set(dataset.labels) - set(kept.sums.labels))))
        if gone:
            labels = [sums.labels.index(before[one.digest][0]) for one in gone]
            sums = sums.subtract(FeatureSums.of(compute(gone), np.array(labels), sums.labels, origin))
        found = chain([sums], found)
    sums = merge_all(found).with_labels(dataset.labels)
    _log.info("%d images are added to the sums of %d, and %d taken out", len(added), len(before), len(gone))
    wanted = _describe_trained(dataset)
    groups = len({group for _, group in wanted.values()})
    return KeptSums(sums=replace(sums, groups=groups), images=wanted)


def sum_part(kept: KeptSums | None, dataset: Dataset, origin: SumsOrigin, compute: Compute, parts: SumParts) -> None:
    """Store the sums over one pod's part of the new images, for the pod that calls `update_sums`."""
    _, added, _ = _find_changes(kept, dataset, origin)
    parts.sum_own(added, origin, partial(_sum_up, dataset, origin, compute))


def _find_changes(
    kept: KeptSums | None, dataset: Dataset, origin: SumsOrigin
) -> tuple[KeptSums | None, list[LabelledImage], list[LabelledImage]]:
    """Return the earlier sums if they can be used, the images to add, and those to subtract."""
    wanted = _describe_trained(dataset)
    files = {one.digest: one for one in dataset.examples}
    if kept is not None and kept.sums.origin != origin:
        _log.info("all images are summed again, because another network or recipe is used than before")
        kept = None
    if kept is not None and not kept.images.keys() <= files.keys():
        _log.info("all images are summed again, because images are gone that the earlier sums have")
        kept = None
    before = kept.images if kept is not None else {}
    added = [files[digest] for digest, about in wanted.items() if before.get(digest, ("",))[0] != about[0]]
    gone = [files[digest] for digest, (label, _) in before.items() if wanted.get(digest, ("",))[0] != label]
    return kept, added, gone


def _describe_trained(dataset: Dataset) -> dict[str, tuple[str, str]]:
    return {one.digest: (one.label, one.group_name) for one in dataset.on("train")}


def _sum_up(dataset: Dataset, origin: SumsOrigin, compute: Compute, examples: Sequence[LabelledImage]) -> FeatureSums:
    first = examples[:CHUNK]
    sums = FeatureSums.of(compute(first), dataset.truth(first), dataset.labels, origin)
    for begin in range(CHUNK, len(examples), CHUNK):  # features at each position of all images may not fit into memory
        chunk = examples[begin : begin + CHUNK]
        sums = sums.add(compute(chunk), dataset.truth(chunk))
    return sums
