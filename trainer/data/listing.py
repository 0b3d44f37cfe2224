"""Lists the images of a dataset by name, before any image is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from eaves.errors import DatasetError
from eaves.media_type import SUFFIXES, UNSUPPORTED_SUFFIXES

Split = Literal["train", "val"]
DECLARED = ("train", "val")
NAMED_PAIRS = 5
"""Maximum number of images that the error about images in two classes names; the others are only counted."""

LOOSE = "the file is beside the class folders and not in one of them"
NOT_CONVERTED = "HEIC and AVIF can't be read; convert the file to JPEG (`magick mogrify -format jpg *.heic *.avif`)"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFault:
    """A fault of a file, found before training, for which the file is left out.

    Attributes:
        file: Path of the file relative to the dataset's root.
        reason: What is wrong with the file.
    """

    file: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedImage:
    """An image that a folder or a manifest names.

    Attributes:
        path: Path of the file.
        label: Name of the image's class.
        below: The file's path below its class's folder, or below the manifest's.
        split: Side of the split that the data declare, if any.
        columns: Name and value of each further column of the manifest.
    """

    path: Path
    label: str
    below: PurePosixPath
    split: Split | None = None
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The images of a dataset by name.

    Attributes:
        root: Folder that holds all the images.
        labels: Class names, sorted.
        entries: The images; those that the data hold out come first, so that of two copies on both sides the held-out
            one stays.
        faults: Faults of the files that were left out of `entries`.
        declared: Whether the data declare the split.
    """

    root: Path
    labels: tuple[str, ...]
    entries: tuple[ListedImage, ...]
    faults: tuple[DataFault, ...]
    declared: bool


def suffix_fault(name: str) -> DataFault | None:
    """Return the fault of a file whose suffix is not that of an image; None when the suffix is one."""
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in SUFFIXES:
        return None
    if suffix in UNSUPPORTED_SUFFIXES:
        return DataFault(file=name, reason=NOT_CONVERTED)
    return DataFault(file=name, reason=f"the file's name does not end in {', '.join(SUFFIXES)}")


def leaves_root(name: str) -> bool:
    """Return whether a path from a manifest, an archive or an object store could lead outside its root."""
    parts = PurePosixPath(name).parts  # "" and "." have no parts; they are the root itself
    return not parts or "\0" in name or "\\" in name or name.startswith("/") or ".." in parts


def check_labels(listing: Listing) -> None:
    """Check that the classes of a dataset can be trained on: names, number, and images in each.

    Raises:
        DatasetError: There are no images, fewer than two classes, an unprintable name, or a class that is empty or only
            in val.
    """
    root, labels = listing.root, listing.labels
    check_not_loose(listing)
    if not listing.entries:
        raise DatasetError(
            f"no images under {root}", hint=f"add files that end in {', '.join(SUFFIXES)} to the folder of each class"
        )
    if len(labels) < 2:
        raise DatasetError(f"only one class under {root}: {', '.join(labels)}", hint="add images of a second class")
    unfit = [name for name in labels if not name.isprintable()]
    if unfit:
        raise DatasetError(
            f"the folder {unfit[0]!r} is not a valid class name: it has characters that can't be printed",
            hint="rename the folder",
        )
    unknown = _find_unknown_classes(listing.entries, labels) if listing.declared else ()
    if unknown:
        message = f"val has classes that train does not have: {', '.join(unknown)}"
        raise DatasetError(message, hint="add images of these classes to train, or remove the classes from val")
    count = Counter(entry.label for entry in listing.entries)
    for name in labels:
        if not count[name]:
            message = f"the class {name} has no images{_why_empty(listing.faults, name)}"
            raise DatasetError(message, hint=f"add images to the class {name}, or remove it")


def same_bytes(name: str, first: str) -> DataFault:
    """Return the fault of a file that repeats the bytes of another one."""
    return DataFault(file=name, reason=f"it has the same bytes as {first}")


def in_two_classes(pairs: Sequence[tuple[tuple[str, str], tuple[str, str]]]) -> DatasetError:
    """Return the error about images that are in two classes.

    Args:
        pairs: For each such image, name and class of one file, then name and class of another file with the same bytes.
    """
    one, other = pairs[0]
    if len(pairs) == 1:
        message = f"the same image is in two classes: {one[0]} and {other[0]}"
        return DatasetError(message, hint=f"remove the image from {one[1]} or from {other[1]}")
    shown = "; ".join(f"{first[0]} and {second[0]}" for first, second in pairs[:NAMED_PAIRS])
    more = f"; and {len(pairs) - NAMED_PAIRS} more" if len(pairs) > NAMED_PAIRS else ""
    hint = "leave each image in one class only; `eaves data check` finds copies"
    return DatasetError(f"{len(pairs)} images are in two classes: {shown}{more}", hint=hint)


def check_not_loose(listing: Listing) -> None:
    """Check that the images are not all directly in the folder where the folders of classes should be.

    Raises:
        DatasetError: All images are directly in the folder; the message says how many.
    """
    loose = sum(fault.reason == LOOSE for fault in listing.faults)
    if not listing.entries and loose:
        above = listing.root.absolute().parent
        hint = f"name the folder above, {above}, if its subfolders are the classes; or create one subfolder per class"
        raise DatasetError(f"{loose} images lie directly in {listing.root}, not in the folder of a class", hint=hint)


def _why_empty(faults: Collection[DataFault], name: str) -> str:
    """Return the end of an error message: how many files of an empty class are not used, and why; or an empty text."""
    found = [fault for fault in faults if name in PurePosixPath(fault.file).parts[:-1]]
    if not found:
        return ""
    files = "1 file in its folder is" if len(found) == 1 else f"{len(found)} files in its folder are"
    return f"; {files} not used: {found[0].reason}"


def _find_unknown_classes(entries: Collection[ListedImage], labels: Collection[str]) -> list[str]:
    return sorted({entry.label for entry in entries} - set(labels))
