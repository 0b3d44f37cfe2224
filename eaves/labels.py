"""The photos of a dataset's folder and their labels, which several threads and processes may change at once.

The folder is what `eaves train` takes: a folder per class, also below `train` and `val`, photos beside them, which have
no label yet, and `labels.csv`, whose last line that counts for a photo takes precedence over its folder. A line counts
unless a later one takes it back.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from eaves import media_type
from eaves.base.clock import SYSTEM, Clock
from eaves.base.disk_errors import disk_errors
from eaves.base.files import make_directory, write_atomically
from eaves.errors import ConfigError, ImageError, LabelConflictError, NotFoundError
from eaves.label_imports import (
    MAX_REFUSED,
    ImportedLabels,
    ImportedRow,
    PhotoNames,
    make_safe,
    parse_csv,
    parse_label_studio,
)
from eaves.labels_file import COLUMNS, LABELS, Label, LabelsFile, render_csv

NOT_USABLE = "not usable"
"""Label of photos that are left out of training."""
MAX_NAME = 60
"""Maximum number of characters of a class's or a person's name."""
MAX_NAMED = 3
"""Maximum number of photos that an error names."""
SETTLED_S = 2.0
"""Time, seconds, for which a changed folder is listed again at each call: file systems store its time in steps of up to
2 s, so a later change may not be visible in it."""
DECLARED = frozenset(("train", "val"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """A photo of the folder.

    Attributes:
        file: Path of the photo below the folder, with `/`.
        label: Name of a class, `not usable`, or empty when it has none.
        who: Name of the person who said so; empty for the label that a folder gives.
        when: Time in UTC; empty for the label that a folder gives.
    """

    file: str
    label: str
    who: str = ""
    when: str = ""


class _Listed(NamedTuple):
    """Content of one folder.

    Attributes:
        photos: Names of its photos.
        folders: Names of its folders.
        stamp: Inode and time of the last change of the folder.
        since: Time of the clock since when the folder has this stamp, seconds.
        at: Time of the clock when it was listed.
    """

    photos: tuple[str, ...]
    folders: tuple[str, ...]
    stamp: tuple[int, int]
    since: float
    at: float


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
        self._listed: dict[str, _Listed] = {}
        self._photos: dict[str, Photo] = {}
        self._class_depth = 1
        self._forget()

    def _forget(self) -> None:
        self._said: dict[str, list[Label]] = {}  # lines of each file that are not taken back, oldest first
        self._named: set[str] = set()
        self._actions: dict[str, tuple[str, list[str]]] = {}  # `when` to who did it and with which files
        self._times: set[str] = set()

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
        """Return the line that counts of each file that has one, the order being that in which they were said.

        The files need not exist.
        """
        with self._lock:
            self._file.read()
            latest = [lines[-1] for lines in self._said.values() if lines]
            return {line.file: line for line in sorted(latest, key=lambda line: line.when)}

    def classes(self) -> Sequence[str]:
        """Return the names of the classes, sorted: of folders, named ones, and those of photos."""
        with self._lock:
            self._refresh()
            folders = {path.rpartition("/")[2] for path in self._listed if path.count("/") == self._class_depth - 1}
            labels = {photo.label for photo in self._photos.values()}
            return sorted((folders | self._named | labels) - {"", NOT_USABLE})

    def name_class(self, name: str, who: str) -> None:
        """Add a class without photos.

        Raises:
            ConfigError: The name can't be one of a class, or `who` not one of a person.
            StorageError: It can't be written.
        """
        self._check_names(who, [name])
        if name in ("", NOT_USABLE):
            raise ConfigError.single("labels", "class", f"{name!r} can't be used: it has a meaning of its own")
        with self._writing():
            if name not in self.classes():
                self._append([("", name, "")], who, self._next_time())

    def put(self, labels: Mapping[str, str], *, who: str, before: Mapping[str, str] | None = None) -> str:
        """Label photos; several together become one group, which one undo takes back.

        Args:
            labels: File to its label: a class, `not usable`, or empty, which takes the label back.
            who: Name of the person.
            before: File to the label that the person has seen.

        Returns:
            when: Time of the action, which no other has; the labels are on the disk.

        Raises:
            LabelConflictError: A photo has got another label than `before` and `labels` say; nothing is written.
            NotFoundError: There is no such photo.
            ConfigError: A label or `who` can't be a name.
            StorageError: The labels can't be written; none counts.
        """
        self._check_names(who, labels.values())
        with self._writing():
            found = {file: self.find(file) for file in labels}
            if missing := [file for file, photo in found.items() if photo is None]:
                raise NotFoundError(f"{self.folder} has no photo {missing[0][:80]!r}")
            seen = before or {}
            others = {
                file: self._counting(file)
                for file, photo in found.items()
                if photo and file in seen and photo.label not in (seen[file], labels[file])
            }
            if others:
                said = [
                    f"{now.who or 'its folder'} says {now.label!r} of {file[:80]!r}" for file, now in others.items()
                ]
                raise LabelConflictError(f"meanwhile {'; '.join(said[:MAX_NAMED])}", others)
            when = self._next_time()
            group = f"pile-{when}" if len(labels) > 1 else ""
            rows = [(file, label, group or self._counting(file).group) for file, label in labels.items()]
            self._append(rows, who, when)
            return when

    def undo(self, who: str) -> Mapping[str, str] | None:
        """Take back the last action of a person that isn't taken back; return its files with their labels now.

        A file that somebody else has labelled since keeps that label. None: nothing is left to take back.

        Raises:
            StorageError: It can't be written; nothing is taken back.
        """
        self._check_names(who, [])
        with self._writing():
            self._refresh()
            when = next((when for when in reversed(self._actions) if self._actions[when][0] == who), None)
            if when is None:
                return None
            files = self._actions[when][1]
            after = [self._counting(file, without=when) for file in files]
            self._append([(line.file, line.label, line.group) for line in after], who, self._next_time(), undoes=when)
            return {line.file: line.label for line in after}

    def add_photo(self, name: str, data: bytes) -> str:
        """Write a photo beside the class folders, and return its file; it is on the disk.

        Args:
            name: Name of the upload, of which only what is safe is kept.
            data: The image. The file that has the same bytes is returned when the folder has one that was added.

        Raises:
            ImageError: The data are not an image in a format that is read.
            StorageError: The photo can't be written.
        """
        if not media_type.is_readable(data):
            raise ImageError(
                f"{name[:80]!r} is no image in a format that is read ({media_type.sniff(data)})",
                hint="add JPEG, PNG, WebP, BMP, TIFF or GIF files",
            )
        suffix, digest = media_type.suffix(media_type.sniff(data)), hashlib.sha256(data).hexdigest()
        with self._lock, disk_errors(self.folder):
            make_directory(self.folder, mode=0o777)
            self._refresh()
            ends = tuple(f"-{digest[:length]}{suffix}" for length in (8, 64))
            for file in self._photos:
                if file.endswith(ends) and (self.folder / file).read_bytes() == data:
                    return file
            targets = (self.folder / f"{make_safe(name)}{end}" for end in ends)
            target = next(each for each in targets if not each.exists() or each.read_bytes() == data)
            if not target.exists():
                write_atomically(target, data, mode=None)
        return target.name

    def import_csv(self, text: str, who: str) -> ImportedLabels:
        """Take the labels of a CSV text with the columns `file` (or `path`) and `label`, and maybe `group`.

        Photos that were added are found by the name that they had, too. Rows without a label say nothing. All labels
        that are taken are one action.

        Raises:
            ConfigError: `who` can't be a name.
            StorageError: The labels can't be written; none counts.
        """
        return self._import(parse_csv(text), who)

    def import_label_studio(self, document: Any, who: str) -> ImportedLabels:
        """Take the choices of Label Studio's JSON export, see `import_csv`."""
        return self._import(parse_label_studio(document), who)

    def export_csv(self) -> str:
        """Return a CSV text with one row for each photo: what counts now."""
        with self._lock:
            lines = [self._counting(photo.file) for photo in self.photos()]
        names = COLUMNS[:-1]
        return render_csv([names, *([getattr(line, name) for name in names] for line in lines)])

    def _import(self, rows: Iterable[ImportedRow], who: str) -> ImportedLabels:
        self._check_names(who, [])
        with self._writing():
            self._refresh()
            names, taken = PhotoNames(self._photos), dict[str, Label]()
            refused, count = list[str](), 0
            for row in rows:
                file, fault = names.find(row) if not row.fault else ("", row.fault)
                for what, text in (("label", row.label), ("group", row.group)):
                    if not fault and text and (wrong := find_name_fault(text)):
                        fault = f"the {what} {text[:80]!r} can't be used: {wrong}"
                if fault:
                    count += 1
                    refused += [f"{row.place}: {fault}"] if count <= MAX_REFUSED else []
                elif row.label:
                    taken[file] = Label(file=file, label=row.label, group=row.group)
                else:
                    taken.pop(file, None)
            new = []
            for line in taken.values():
                now = self._counting(line.file)
                group = line.group or now.group
                if (now.label, now.group) != (line.label, group):
                    new.append((line.file, line.label, group))
            if new:
                self._append(new, who, self._next_time())
        if count > MAX_REFUSED:
            refused.append(f"and {count - MAX_REFUSED} more")
        return ImportedLabels(taken=len(taken), refused=tuple(refused))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._lock:
            with disk_errors(self.folder):
                make_directory(self.folder, mode=0o777)
            with self._file.locked():
                yield

    def _append(self, rows: Sequence[tuple[str, str, str]], who: str, when: str, *, undoes: str = "") -> None:
        """Write rows of file, label and group as one action."""
        self._file.append(
            [
                Label(file=file, label=label, group=group, who=who, when=when, undoes=undoes)
                for file, label, group in rows
            ]
        )

    def _next_time(self) -> str:
        """Return the time as a text that no line of the file has."""
        moment = datetime.fromtimestamp(self._clock.now(), UTC)
        while (text := moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")) in self._times:
            moment += timedelta(microseconds=1)
        return text

    def _apply(self, lines: Sequence[Label], is_new_file: bool) -> None:
        """Take in lines of the file."""
        if is_new_file:
            self._forget()
        for line in lines:
            self._times.add(line.when)
            said = self._said.setdefault(line.file, []) if line.file else []
            if line.undoes:
                self._actions.pop(line.undoes, None)
                said[:] = [each for each in said if each.when != line.undoes]
            elif not line.file:
                self._named |= {line.label} - {""}
            elif line.label or line.when:  # a row of a spreadsheet without a label says nothing
                said.append(line)
                if line.when:
                    self._actions.setdefault(line.when, (line.who, []))[1].append(line.file)
        for file in self._photos if is_new_file else {line.file for line in lines} & self._photos.keys():
            self._photos[file] = self._build_photo(file)

    def _counting(self, file: str, *, without: str = "") -> Label:
        """Return the line that counts for a file, or what its folder says; `without` the lines of an action."""
        lines = [line for line in self._said.get(file, ()) if not without or line.when != without]
        return lines[-1] if lines else Label(file=file, label=self._folder_label(file))

    def _build_photo(self, file: str) -> Photo:
        line = self._counting(file)
        return Photo(file=file, label=line.label, who=line.who, when=line.when)

    def _folder_label(self, file: str) -> str:
        parts = file.split("/")
        return parts[self._class_depth - 1] if len(parts) > self._class_depth else ""

    def _refresh(self) -> None:
        """Take in what has changed in the file and in the folder."""
        self._file.read()
        with disk_errors(self.folder):
            listed = self._list()
        before, self._listed = self._listed, listed
        if _names(listed) == _names(before):
            return
        is_declared = "" in listed and set(listed[""].folders) == DECLARED
        self._class_depth = 2 if is_declared and any(listed[side].folders for side in DECLARED & set(listed)) else 1
        files = sorted(f"{path}/{name}" if path else name for path, each in listed.items() for name in each.photos)
        self._photos = {file: self._build_photo(file) for file in files}

    def _list(self) -> dict[str, _Listed]:
        """Return the content of the folder and of all folders below it, listing again those that have changed."""
        listed, left = dict[str, _Listed](), [""]
        while left:
            path = left.pop()
            each = self._list_one(path)
            if each is not None:
                listed[path] = each
                left += (f"{path}/{name}" if path else name for name in each.folders)
        return listed

    def _list_one(self, path: str) -> _Listed | None:
        now, known, place = self._clock.monotonic(), self._listed.get(path), self.folder / path
        try:
            status = place.stat()
            stamp = status.st_ino, status.st_mtime_ns
            since = known.since if known and known.stamp == stamp else now
            if known and known.stamp == stamp and known.at - since > SETTLED_S:
                return known
            with os.scandir(place) as entries:
                found = [entry for entry in entries if not entry.name.startswith(".") and _is_utf8(entry.name)]
        except (FileNotFoundError, NotADirectoryError):
            return None
        follows = path in ("", *DECLARED)  # training follows links to the folders of classes, and none below them
        folders = sorted(entry.name for entry in found if entry.is_dir(follow_symlinks=follows))
        photos = sorted(entry.name for entry in found if media_type.is_image_path(entry.name) and entry.is_file())
        return _Listed(tuple(photos), tuple(folders), stamp, since, now)

    def _check_names(self, who: str, labels: Iterable[str]) -> None:
        for what, text in (("who", who), *(("class", label) for label in set(labels) if label)):
            fault = find_name_fault(text)
            if fault and not (what == "class" and text in self.classes()):
                raise ConfigError.single("labels", what, f"{text[:80]!r} can't be used: {fault}")


def _names(listed: Mapping[str, _Listed]) -> Mapping[str, tuple[str, ...]]:
    return {path: (*each.photos, "/", *each.folders) for path, each in listed.items()}


def _is_utf8(name: str) -> bool:
    """Return whether a file's name can be written into `labels.csv`."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
