"""Lists the images of a dataset by name, before any image is read, and groups the faults of files for people.

A folder has a folder per class; exactly two folders `train` and `val`, each with such folders, declare a split. In a
folder with `labels.csv`, what people have said there takes precedence over the folders, see `eaves.labels`. A CSV
manifest has one row per image: path, label and an optional split. Paths are relative to the manifest and stay below its
folder, so that a manifest means the same on every machine and a foreign one can't name other files of this machine.

Source: RFC 4180 (CSV).
"""

from __future__ import annotations

import csv
import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, cast

from eaves.artifact.manifest import ANOMALOUS, NORMAL
from eaves.dataset_folder import AUDIT, DECLARED, Split, list_folder
from eaves.errors import DatasetError
from eaves.labels import LABELS, NOT_USABLE, LabelBook
from eaves.media_type import SUFFIXES, UNSUPPORTED_SUFFIXES

if TYPE_CHECKING:
    from trainer.data.near_duplicates import ImageFingerprint

MANIFEST_SUFFIX = ".csv"
MAX_NAMED = 5
"""Maximum number of images or of lines that an error names; the others are only counted."""

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
class LabelledImage:
    """An image that a folder or a manifest names and, from `digest` on, what its file holds once it has been read.

    Attributes:
        path: Path of the file.
        label: Name of the image's class.
        below: The file's path below its class's folder, or below the manifest's.
        split: Side of the split that the data declare, if any.
        columns: Name and value of each further column of the manifest.
        name: Path of the file below the dataset's root, for people.
        digest: sha256 of the file's bytes, hex.
        media_type: Media type that the file's first bytes show.
        fault: Why the image can't be decoded; empty if it can.
        look: Fingerprint of the image; None when the image is flat or can't be decoded.
        brightest: The 99.9th percentile of the image's values, 0 to 255.
        group: Name of the image's group in a run's split, in a listing that in `labels.csv`; empty when it is in none.
        kind: Name of the image's class in the data where the label only says whether it is anomalous; else empty.
    """

    path: Path
    label: str
    below: PurePosixPath = field(default_factory=PurePosixPath)
    split: Split | None = None
    columns: Mapping[str, str] = field(default_factory=dict, compare=False)
    name: str = ""
    digest: str = ""
    media_type: str = ""
    fault: str = ""
    look: ImageFingerprint | None = field(default=None, compare=False, repr=False)
    brightest: int = 255
    group: str = ""
    kind: str = ""

    @property
    def group_name(self) -> str:
        """Name of the image's group; an image in none is a group of its own."""
        return self.group or self.digest

    @property
    def only_judges(self) -> bool:
        """Whether the image is never trained on, because only normal images are."""
        return bool(self.kind) and self.label == ANOMALOUS


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
        notes: Sentences on photos that only judge, and on those that `labels.csv` leaves out.
        audit: Photos of the audit sample, with or without a label; they are never among `entries`.
    """

    root: Path
    labels: tuple[str, ...]
    entries: tuple[LabelledImage, ...]
    faults: tuple[DataFault, ...]
    declared: bool
    notes: tuple[str, ...] = ()
    audit: tuple[LabelledImage, ...] = ()


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


DRAWN = "drawn"
"""Kind of the images with a drawn defect."""


def judge_as_anomalies(listing: Listing, good: str) -> Listing:
    """Return a listing with two classes: images of the class `good` are normal, all others are anomalous."""
    entries = (
        replace(one, label=NORMAL if one.label == good else ANOMALOUS, kind=one.label) for one in listing.entries
    )
    return replace(listing, labels=(NORMAL, ANOMALOUS), entries=tuple(entries))


def check_labels(listing: Listing, good: str = "") -> None:
    """Check that the classes of a dataset can be trained on: names, number, and images in each.

    Args:
        listing: The images.
        good: Name of the class that alone is trained on; empty: all classes are.

    Raises:
        DatasetError: There are no images, fewer than two classes, an unprintable name, or a class that is empty or only
            in val.
    """
    root, labels = listing.root, listing.labels
    check_not_loose(listing)
    if not listing.entries and listing.notes:
        hint = "label the photos in the console, or put them into a folder per class"
        raise DatasetError(f"no photo in {root} is labelled; {listing.notes[0]}", hint=hint)
    if not listing.entries:
        raise DatasetError(
            f"no images under {root}", hint=f"add files that end in {', '.join(SUFFIXES)} to the folder of each class"
        )
    only = labels[0] if len(labels) == 1 else "NAME"
    if good and good not in labels:
        raise DatasetError(
            f"no class {good} under {root}, only {', '.join(labels)}",
            hint=f"put the photos of good parts into the folder {good}, or name theirs: --good {only}",
        )
    if len(labels) < 2 and not good:
        raise DatasetError(
            f"only one class under {root}: {', '.join(labels)}",
            hint=f"add images of a second class, or train on good photos alone: --task anomaly --good {only}",
        )
    unfit = [name for name in labels if not name.isprintable()]
    if unfit:
        raise DatasetError(
            f"the folder {unfit[0]!r} is not a valid class name: it has characters that can't be printed",
            hint=f"rename the folder, or the class in {LABELS}",
        )
    unknown = sorted({entry.label for entry in listing.entries} - set(labels))
    if listing.declared and unknown and not good:
        message = f"val has classes that train does not have: {', '.join(unknown)}"
        raise DatasetError(message, hint="add images of these classes to train, or remove the classes from val")
    count = Counter(entry.label for entry in listing.entries)
    for name in labels:
        if not count[name]:
            left_out = (fault.reason for fault in listing.faults if name in PurePosixPath(fault.file).parts[:-1])
            why = next((f"; a file of it is not used: {reason}" for reason in left_out), "")
            raise DatasetError(
                f"the class {name} has no images{why}", hint=f"add images to the class {name}, or remove it"
            )


def in_two_classes(pairs: Sequence[tuple[str, str]]) -> DatasetError:
    """Return the error about images that are in two classes: for each, two files of the same bytes."""
    shown = "; ".join(f"{first} and {second}" for first, second in pairs[:MAX_NAMED])
    more = f"; and {len(pairs) - MAX_NAMED} more" if len(pairs) > MAX_NAMED else ""
    hint = "leave each image in one class only; `eaves data check` finds copies"
    return DatasetError(f"the same image is in two classes ({len(pairs)} times): {shown}{more}", hint=hint)


def check_not_loose(listing: Listing) -> None:
    """Check that the images are not all directly in the folder where the folders of classes should be.

    Raises:
        DatasetError: All images are directly in the folder; the message says how many.
    """
    loose = sum(fault.reason == LOOSE for fault in listing.faults)
    if not listing.entries and loose:
        above = listing.root.absolute().parent
        hint = (
            f"name the folder above, {above}, if its subfolders are the classes; or create one subfolder per class, or "
            "label the images in the console"
        )
        raise DatasetError(f"{loose} images lie directly in {listing.root}, not in the folder of a class", hint=hint)


MAX_SHOWN = 3
"""Number of file names that a log line shows; the report lists all of them."""
_GENERAL = (
    (r"it has the same bytes as .*", "it has the same bytes as another file"),
    (
        r"line \d+ of (.*) names the file, but it does not exist",
        r"a line of \1 names the file, but it does not exist",
    ),
    (r"(the data is not an image in a supported format) .*", r"\1"),
    (r"the image is \d+x\d+; (at most .*) are allowed", r"the image is too large: \1 are allowed"),
)
"""Patterns of reasons that name another file, a line or a size, each with the general reason that replaces it."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """A fault that several files have.

    Attributes:
        reason: What is wrong with all the files.
        files: Paths of the files relative to the dataset's root.
    """

    reason: str
    files: tuple[str, ...]


def group_by_cause(faults: Iterable[DataFault]) -> list[Cause]:
    """Group faults by cause, the most frequent cause first."""
    groups: dict[str, list[str]] = {}
    for fault in faults:
        groups.setdefault(_cause(fault.reason), []).append(fault.file)
    causes = [Cause(reason=reason, files=tuple(files)) for reason, files in groups.items()]
    return sorted(causes, key=lambda cause: -len(cause.files))


def log_not_used(faults: Iterable[DataFault]) -> None:
    """Log one line for each reason why files are not used, with the number of files and the first names."""
    for line in render_not_used(faults):
        _log.warning("%s", line)


def render_not_used(faults: Iterable[DataFault]) -> Iterator[str]:
    """Yield one line for each reason why files are not used, with the number of files and the first names."""
    for cause in group_by_cause(faults):
        many, shown = len(cause.files), ", ".join(cause.files[:MAX_SHOWN])
        more = f" and {many - MAX_SHOWN} more" if many > MAX_SHOWN else ""
        yield f"{many} {'file is' if many == 1 else 'files are'} not used: {cause.reason}: {shown}{more}"


def _cause(reason: str) -> str:
    """Return the reason of a fault without file names, line numbers and sizes, so that equal causes are equal."""
    for pattern, general in _GENERAL:
        if found := re.fullmatch(pattern, reason):
            return found.expand(general)
    return reason.partition(": ")[0]


def load_listing(path: Path) -> Listing:
    """List the images of a local folder or manifest.

    Raises:
        DatasetError: `path` can't be read.
    """
    is_manifest = path.name.lower().endswith(MANIFEST_SUFFIX) and not path.is_dir()
    return load_manifest(path) if is_manifest else load_folder(path)


def load_folder(path: Path) -> Listing:
    """List the images under `path`.

    Args:
        path: A folder with one subfolder per class, or a folder with such folders `train` and `val`.

    Raises:
        DatasetError: A folder or its `labels.csv` can't be read, or there are classes beside `train` and `val`.
    """
    content = list_folder(path)
    is_labelled = (path / LABELS).exists()
    said = LabelBook(path).labels() if is_labelled else {}
    entries, faults, left_out = list[LabelledImage](), list[DataFault](), Counter[str]()
    audit = list[LabelledImage]()
    for file, folder_label, split in content.files:
        line = said.get(file)
        label = line.label if line else folder_label
        group = line.group if line else ""
        if split == AUDIT:
            audit.append(LabelledImage(path=path / file, label=label, split=split, group=group))
        elif not (folder_label or is_labelled):
            faults.append(DataFault(file=file, reason=LOOSE))
        elif fault := suffix_fault(file):
            faults.append(fault)
        elif is_labelled and label in ("", NOT_USABLE):
            left_out[label] += 1
        else:
            below = PurePosixPath(*file.split("/")[1 + content.declared :] if folder_label else [file])
            entries.append(LabelledImage(path=path / file, label=label, below=below, split=split, group=group))
    classes = content.classes
    if is_labelled:
        entries.sort(key=lambda entry: entry.split != "val")
        classes = tuple(sorted({entry.label for entry in entries if entry.split != "val"}))
        left_out["gone"] = len(said.keys() - {each.file for each in content.files})
    return Listing(
        root=path,
        labels=classes,
        entries=tuple(entries),
        faults=tuple(faults),
        declared=content.declared,
        notes=(*describe_audit(len(audit)), *_describe_left_out(left_out)),
        audit=tuple(audit),
    )


def describe_audit(count: int) -> tuple[str, ...]:
    """Return the sentence on photos of the audit sample, if there are any."""
    return (f"{count} photos of the audit sample only judge",) if count else ()


def _describe_left_out(counts: Mapping[str, int]) -> tuple[str, ...]:
    """Return the sentence on photos that `labels.csv` leaves out, if it does."""
    words = {"": "without a label", NOT_USABLE: NOT_USABLE, "gone": "not in the folder"}
    parts = [f"{counts[key]} {what}" for key, what in words.items() if counts[key]]
    return (f"photos that {LABELS} leaves out: {', '.join(parts)}",) if parts else ()


COLUMNS = ("path", "label", "split")
"""Columns of a manifest that have a meaning of their own."""


def load_manifest(file: Path) -> Listing:
    """List the images that a manifest names; missing files become faults.

    Raises:
        DatasetError: The manifest can't be read or has invalid rows; the message names the first few.
    """
    rows = parse_manifest(file)
    entries, faults = list[LabelledImage](), list[DataFault]()
    for name, (line, image) in sorted(rows.items(), key=lambda row: row[1][1].split != "val"):
        fault = suffix_fault(name)
        if not fault and not is_file(image.path):
            fault = DataFault(file=name, reason=f"line {line} of {file.name} names the file, but it does not exist")
        if fault:
            faults.append(fault)
        else:
            entries.append(image)
    images = [image for _, image in rows.values()]
    declared = any(image.split for image in images)
    labels = tuple(sorted({image.label for image in images if not declared or image.split == "train"}))
    return Listing(root=file.parent, labels=labels, entries=tuple(entries), faults=tuple(faults), declared=declared)


def is_file(path: Path) -> bool:
    """Return whether `path` is an existing file; False also for a name that the file system does not allow."""
    try:
        return path.is_file()
    except OSError:
        return False


def parse_manifest(file: Path) -> dict[str, tuple[int, LabelledImage]]:
    """Parse a manifest: path of each image below the manifest's folder, to its line and the image.

    Raises:
        DatasetError: The manifest can't be read or has invalid rows; the message names the first few.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"{file.name} is not UTF-8 (byte {error.start})"
        raise DatasetError(message, hint=f"iconv -f latin1 -t utf-8 {file.name}") from error
    except OSError as error:
        raise DatasetError(f"can't read the manifest {file}: {error.strerror}") from error
    rows: dict[str, tuple[int, LabelledImage]] = {}
    wrong: list[str] = []
    for line, values in _csv(file.name, text):
        path, label, split = ((values.get(name) or "").strip() for name in COLUMNS)
        if fault := _find_fault(path, label, split):
            wrong.append(f"line {line}: {fault}")
            continue
        below = PurePosixPath(path)
        image = LabelledImage(
            path=file.parent / path,
            label=label,
            below=below,
            split=cast(Split, split) or None,
            columns={
                name: value.strip() for name, value in values.items() if name not in COLUMNS and isinstance(value, str)
            },
        )
        before, known = rows.setdefault(below.as_posix(), (line, image))
        if (known.label, known.split) != (image.label, image.split):
            wrong.append(f"line {line}: {path} has another label or split in line {before}")
    missing = [line for line, image in rows.values() if image.split is None]
    if missing and len(missing) < len(rows):
        wrong.append(f"line {missing[0]} has no split, but other lines have one")
    if wrong:
        more = f"; and {len(wrong) - MAX_NAMED} more" if len(wrong) > MAX_NAMED else ""
        raise DatasetError(
            f"{file.name}: {'; '.join(wrong[:MAX_NAMED])}{more}", hint="correct these lines of the manifest"
        )
    return rows


def _csv(name: str, text: str) -> Iterator[tuple[int, Any]]:
    reader = csv.DictReader(text.splitlines(keepends=True), strict=True, skipinitialspace=True)
    try:
        missing = [column for column in COLUMNS[:2] if column not in (reader.fieldnames or ())]
        if missing:
            first = ", ".join(reader.fieldnames or ())[:80]
            message = f"{name} has no column {' or '.join(missing)}; its first line is: {first or 'empty'}"
            raise DatasetError(message, hint="make the first line of the file: path,label or path,label,split")
        for values in reader:
            yield reader.line_num, values
    except csv.Error as error:
        raise DatasetError(f"{name}: line {reader.line_num} is not valid CSV: {error}") from error


def _find_fault(path: str, label: str, split: str) -> str:
    """Return what is wrong with a row; empty if nothing is."""
    if not path:
        return "no path"
    if leaves_root(path):
        return f"the path {path[:80]!r} is not below the manifest's folder"
    if not label:
        return f"{path[:80]} has no label"
    return f"split must be train or val (got {split[:40]!r})" if split and split not in DECLARED else ""
