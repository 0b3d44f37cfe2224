"""The photos of a dataset's folder and their labels, which several threads and processes may change at once.

The folder is what `eaves train` takes: a folder per class, photos beside them, which have no label yet, and
`labels.csv`, whose last line that counts for a photo takes precedence over its folder. A line counts unless a later one
takes it back.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unicodedata import normalize

from eaves import media_type
from eaves.base.clock import SYSTEM, Clock
from eaves.base.disk_errors import disk_errors
from eaves.base.files import make_directory, write_atomically
from eaves.dataset_folder import AUDIT, FolderContent, list_folder
from eaves.errors import ImageError, InputError, LabelConflictError, NotFoundError
from eaves.label_imports import (
    MAX_REFUSED,
    ImportedLabels,
    ImportedRow,
    PhotoNames,
    make_safe,
    parse_csv,
    parse_label_studio,
)
from eaves.labels_file import COLUMNS, Label, LabelsFile, render_csv

LABELS = "labels.csv"
NOT_USABLE = "not usable"
"""Label of photos that are left out of training."""
MAX_NAME = 60
"""Maximum number of characters of a class's or a person's name."""
MAX_NAMED = 3
"""Maximum number of photos that an error names."""


Photo = Label
"""A photo, with what counts for it."""


def find_name_fault(name: str) -> str:
    """Return why a text can't be the name of a class, a person or a group; empty when it can."""
    if not name.strip() or name != name.strip():
        return "it is empty, or begins or ends with a space"
    if len(name) > MAX_NAME:
        return f"it is longer than {MAX_NAME} characters"
    if not name.isprintable():
        return "it has characters that can't be printed"
    if name[0] in "=+-@.":  # a spreadsheet takes the first four for a formula, and a dot hides a folder
        return f"it begins with {name[0]}"
    return "it has a slash" if "/" in name or "\\" in name else ""


class LabelBook:
    """The photos of a folder and their labels.

    Args:
        folder: The folder; one that doesn't exist yet is empty.
        clock: Clock of the labels.
    """

    def __init__(self, folder: Path, clock: Clock = SYSTEM) -> None:
        self.folder = folder
        self._clock = clock
        self._lock = threading.RLock()
        self._file = LabelsFile(folder / LABELS, self._apply)
        self._classes: Sequence[str] = ()
        self._files: Mapping[str, str] | None = None  # to the label that its folder gives; None: not listed yet
        self._photos: dict[str, Photo] = {}
        self._ends: dict[str, str] = {}  # last part of a photo's name, which tells an added one's content, to the photo
        self._forget()

    def _forget(self) -> None:
        self._said: dict[str, list[Label]] = {}  # lines of each file, oldest first
        self._named: set[str] = set()
        self._actions: dict[str, list[Label]] = {}  # lines of each `when`, oldest first
        self._undone: set[str] = set()  # `when` of the actions that are taken back

    def photos(self) -> Sequence[Photo]:
        """Return all photos, sorted by file.

        Raises:
            DatasetError: `labels.csv` isn't a labels file.
            StorageError: The folder or the file can't be read.
        """
        with self._lock:
            self._refresh()
            return tuple(self._photos.values())

    def find(self, file: str) -> Photo | None:
        """Return a photo; None when the folder has none of this name."""
        with self._lock:
            self._file.read()
            if file not in self._photos or not (self.folder / file).is_file():
                self._refresh()
            return self._photos.get(file)

    def labels(self) -> Mapping[str, Label]:
        """Return the line that counts of each file that has one; the file need not exist."""
        with self._lock:
            self._file.read()
            return {file: line for file in self._said if (line := self._counting(file)).when or line.label}

    def classes(self) -> Sequence[str]:
        """Return the names of the classes, sorted: of folders, named ones, and those of photos."""
        with self._lock:
            self._read()
            labels = {photo.label for photo in self._photos.values()}
            return sorted({*self._classes, *self._named, *labels} - {"", NOT_USABLE})

    def name_class(self, name: str, who: str) -> None:
        """Add a class without photos.

        Raises:
            InputError: The name can't be one of a class, or `who` not one of a person.
            StorageError: It can't be written.
        """
        self._check_names(who, [name])
        if name in ("", NOT_USABLE):
            raise InputError(f"{name!r} can't be used: it has a meaning of its own")
        with self._writing():
            if normalize("NFC", name) not in self._spellings():
                self._append([Label(file="", label=name)], who, self._next_time())

    def _spellings(self) -> Mapping[str, str]:
        """Return the classes by their composed names: macOS decomposes those of folders, and no keyboard does."""
        return {normalize("NFC", name): name for name in self.classes()}

    def put(self, labels: Mapping[str, str], *, who: str, before: Mapping[str, str] | None = None) -> str:
        """Label photos; several together become one group, which one undo takes back.

        Args:
            labels: File to its label: a class, `not usable`, or empty, which takes the label back.
            who: Name of the person.
            before: File to the label that the person has seen.

        Returns:
            when: Time of the action, which no other has; the labels are on the disk. An action that the person repeats,
                because its answer was lost, is the same action.

        Raises:
            LabelConflictError: A photo has got another label than `before` and `labels` say; nothing is written.
            NotFoundError: There is no such photo.
            InputError: A label or `who` can't be a name.
            StorageError: The labels can't be written; none counts.
        """
        self._check_names(who, labels.values())
        with self._writing():
            others, known = dict[str, Label](), set[str | None]()
            for file, label in labels.items():
                photo = self.find(file)
                if photo is None:
                    raise NotFoundError(f"{self.folder} has no photo {file[:80]!r}")
                if photo.label not in (label, (before or {}).get(file, photo.label)):
                    others[file] = photo
                known.add(photo.when if (photo.label, photo.who) == (label, who) else None)
            if others:
                said = [f"{line.who or 'its folder'} says {line.label!r} of {file!r}" for file, line in others.items()]
                raise LabelConflictError(f"meanwhile {'; '.join(said[:MAX_NAMED])}", others)
            last = self.last(who)
            if known == {last} and len(labels) == len(self._actions[last]):
                return last
            when = self._next_time()
            group = f"pile-{when}" if len(labels) > 1 else ""
            lines = (
                Label(file=file, label=label, group=group or self._photos[file].group) for file, label in labels.items()
            )
            self._append(lines, who, when)
            return when

    def last(self, who: str) -> str:
        """Return the time of a person's last action that isn't taken back; empty when there is none."""
        with self._lock:
            self._file.read()
            for when, (line, *_) in reversed(self._actions.items()):
                if line.who == who and line.file and not line.undoes and when not in self._undone:
                    return when
            return ""

    def undo(self, who: str, when: str = "") -> Mapping[str, str] | None:
        """Take back an action of a person; return its files with their labels now.

        A file that somebody else has labelled since keeps that label. None: there is no such action.

        Args:
            who: Name of the person.
            when: Time of the action; empty for the last one that isn't taken back. One that is taken back stays so.

        Raises:
            StorageError: It can't be written; nothing is taken back.
        """
        self._check_names(who, [])
        with self._writing():
            self._read()
            when = when or self.last(who)
            if not (lines := self._actions.get(when)) or lines[0].who != who:
                return None
            if when not in self._undone:
                after = [self._counting(line.file, without=when) for line in lines]
                self._append(after, who, self._next_time(), undoes=when)
            return {line.file: self._counting(line.file).label for line in lines}

    def add_photo(self, name: str, data: bytes, *, audit: bool = False) -> str:
        """Write a photo beside the class folders, or to the audit sample, and return its file; it is on the disk.

        Args:
            name: Name of the upload, of which only what is safe is kept.
            data: The image. The file that has the same bytes is returned when the folder has one that was added.
            audit: Whether the photo only judges. If the same bytes are among the photos that are trained on, they are
                written again, and the training leaves the other file out.

        Raises:
            ImageError: The data are not an image in a format that is read.
            StorageError: The photo can't be written.
        """
        if not media_type.is_readable(data):
            raise ImageError(
                f"{name[:80]!r} is no image in a format that is read ({media_type.sniff(data)})",
                hint="add JPEG, PNG, WebP, BMP, TIFF or GIF files",
            )
        end = hashlib.sha256(data).hexdigest()[:16] + media_type.suffix(media_type.sniff(data))
        folder = f"{AUDIT}/" if audit else ""
        with self._lock, disk_errors(self.folder):
            make_directory(self.folder / folder, mode=0o777)
            self._read()
            if end in self._ends and not (self.folder / self._ends[end]).is_file():
                self._refresh()
            file = self._ends.get(end, "")  # of the audit sample, if it is there too
            # What is remembered may be deleted, or was never written because the disk was full.
            if not file.startswith(folder) or not (self.folder / file).is_file():
                file = self._ends[end] = f"{folder}{make_safe(name)}-{end}"
                write_atomically(self.folder / file, data, mode=None)
        return file

    def import_csv(self, text: str, who: str) -> ImportedLabels:
        """Take the labels of a CSV text with the columns `file` (or `path`) and `label`, and maybe `group`.

        Photos that were added are found by the name that they had, too. Rows without a label say nothing. All labels
        that are taken are one action.

        Raises:
            InputError: `who` can't be a name.
            StorageError: The labels can't be written; none counts.
        """
        return self._import(parse_csv(text), who)

    def import_label_studio(self, document: Any, who: str) -> ImportedLabels:
        """Take the choices of Label Studio's JSON export, see `import_csv`."""
        return self._import(parse_label_studio(document), who)

    def export_csv(self) -> str:
        """Return a CSV text with one row for each photo: what counts now."""
        names = COLUMNS[:-1]
        return render_csv([names, *([getattr(photo, name) for name in names] for photo in self.photos())])

    def _import(self, rows: Iterable[ImportedRow], who: str) -> ImportedLabels:
        self._check_names(who, [])
        with self._writing():
            self._refresh()
            names, taken = PhotoNames(self._photos), dict[str, Label]()
            refused, spellings = list[str](), self._spellings()
            for row in rows:
                file, fault = names.find(row.names) if not row.fault else ("", row.fault)
                unfit = [text for text in (row.label, row.group) if text and find_name_fault(text)]
                if fault or unfit:
                    refused.append(f"{row.place}: {fault or _explain(unfit[0])}")
                elif row.label:
                    group = row.group or self._photos[file].group
                    label = spellings.get(normalize("NFC", row.label), row.label)
                    taken[file] = replace(self._photos[file], label=label, group=group)
                else:
                    taken.pop(file, None)
            if new := [line for file, line in taken.items() if line != self._photos[file]]:
                self._append(new, who, self._next_time())
        more = [f"and {len(refused) - MAX_REFUSED} more"] if len(refused) > MAX_REFUSED else []
        return ImportedLabels(taken=len(taken), refused=(*refused[:MAX_REFUSED], *more))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._lock:
            with disk_errors(self.folder):
                make_directory(self.folder, mode=0o777)
            with self._file.locked():
                yield

    def _append(self, lines: Iterable[Label], who: str, when: str, *, undoes: str = "") -> None:
        """Write files with their labels and groups as one action."""
        self._file.append([replace(line, who=who, when=when, undoes=undoes) for line in lines])

    def _next_time(self) -> str:
        """Return the time as a text that no line of the file has."""
        moment = datetime.fromtimestamp(self._clock.now(), UTC)
        while (text := moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")) in self._actions:
            moment += timedelta(microseconds=1)
        return text

    def _apply(self, lines: Sequence[Label], is_new_file: bool) -> None:
        """Take in lines of the file."""
        if is_new_file:
            self._forget()
        for line in lines:
            self._actions.setdefault(line.when, []).append(line)
            if line.undoes:
                self._undone.add(line.undoes)
            elif not line.file:
                self._named |= {line.label} - {""}
            elif line.label or line.when:  # a row of a spreadsheet without a label says nothing
                self._said.setdefault(line.file, []).append(line)
        for file in self._photos if is_new_file else {line.file for line in lines} & self._photos.keys():
            self._photos[file] = self._counting(file)

    def _counting(self, file: str, *, without: str | None = None) -> Label:
        """Return the line that counts for a file, or what its folder says; `without` the lines of an action."""
        for line in reversed(self._said.get(file, ())):
            if line.when != without and line.when not in self._undone:
                return line
        return Label(file=file, label=(self._files or {}).get(file, ""))

    def _read(self) -> None:
        """Take in what has changed in the file; list the folder only if that wasn't done yet."""
        self._file.read()
        if self._files is None:
            self._refresh()

    def _refresh(self) -> None:
        """Take in what has changed in the file and in the folder."""
        self._file.read()
        content = list_folder(self.folder) if self.folder.is_dir() else FolderContent()
        files = {each.file: each.label for each in content.files if _is_photo(each.file)}
        self._classes = content.classes
        if files != self._files:
            self._files = files
            self._photos = {file: self._counting(file) for file in sorted(files)}
            self._ends = {file.rpartition("-")[2]: file for file in files}

    def _check_names(self, who: str, labels: Iterable[str]) -> None:
        if find_name_fault(who):
            raise InputError(_explain(who))
        for label in set(labels) - {""}:
            if find_name_fault(label) and label not in self.classes():
                raise InputError(_explain(label))


def _explain(name: str) -> str:
    return f"the name {name[:80]!r} can't be used: {find_name_fault(name)}"


def _is_photo(file: str) -> bool:
    """Return whether a file is an image whose name can be written into `labels.csv`."""
    return media_type.is_image_path(file) and file.encode(errors="ignore").decode() == file
