"""Labels of other programs: CSV, and the JSON export of Label Studio. Nothing of it is trusted, fetched or opened.

Source: Label Studio 1.13: `data.image` of an upload is `/data/upload/3/HASH-NAME`, of a file in local storage
`/data/local-files/?d=PATH`; a label is in `annotations[].result[].value.choices`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from unicodedata import normalize
from urllib.parse import unquote

from eaves.labels_file import parse_rows

MAX_REFUSED = 100
"""Maximum number of refused lines that are named; the others are counted."""
_ADDED = re.compile(r"(.+)-[0-9a-f]{16}\.[a-z]+")
"""Name of a photo that was added to the folder, see `make_safe`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedLabels:
    """Result of an import.

    Attributes:
        taken: Number of photos whose label was taken.
        refused: Reason for each line that was refused, with the line.
    """

    taken: int
    refused: tuple[str, ...]


class ImportedRow(NamedTuple):
    """What one line says, or why it says nothing.

    Attributes:
        place: The line, for people.
        names: Path of the photo below the folder, or its name; then further names that it may have.
        label: Name of the class, may be empty.
        group: Name of the photo's group, may be empty.
        fault: Why the line can't be used; empty when it can.
    """

    place: str
    names: Sequence[str] = ()
    label: str = ""
    group: str = ""
    fault: str = ""


def parse_csv(text: str) -> Iterator[ImportedRow]:
    """Yield the rows of a CSV text that name a file."""
    try:
        for line, row in parse_rows(text)[1]:
            if row["file"]:
                yield ImportedRow(f"line {line}", (row["file"],), row.get("label", ""), row.get("group", ""))
    except ValueError as error:
        yield ImportedRow("nothing is taken", fault=str(error))


def parse_label_studio(document: Any) -> Iterator[ImportedRow]:
    """Yield what each task of Label Studio's export says."""
    if not isinstance(document, list):
        yield ImportedRow("nothing is taken", fault="this is not a list of tasks, as Label Studio exports it as JSON")
        return
    for number, task in enumerate(document, 1):
        names, choices = _find_names(_get(_get(task, "data"), "image", str)), list[str]()
        for annotation in _get(task, "annotations", list):
            if not _get(annotation, "was_cancelled", bool):
                found = [_get(_get(one, "value"), "choices", list) for one in _get(annotation, "result", list)]
                choices = [each.strip() for texts in found for each in texts if isinstance(each, str)]
        fault = "" if len(choices) == 1 else f"it has {len(choices)} choices, not one"
        fault = fault if names[0] else "it has no data.image"
        yield ImportedRow(f"task {number}", names, "".join(choices), fault=fault)


def _get(value: Any, name: str, kind: type = dict) -> Any:
    """Return a member of a JSON object; an empty `kind` when the value is no object or has no such member."""
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, kind) else kind()


def _find_names(image: str) -> Sequence[str]:
    """Return the path that a task has for its image, and the names that the image may have had before."""
    if image.startswith("/data/upload/"):
        name = unquote(image).rpartition("/")[2]
        return name, re.sub("^[0-9a-f]{8}-", "", name)
    if image.startswith("/data/local-files/"):
        path = unquote(image.partition("?d=")[2])
        return path, path.rpartition("/")[2]
    return (image,)


class PhotoNames:
    """The photos of a folder by the names that other programs may have for them.

    Args:
        photos: Paths of the photos below the folder.
    """

    def __init__(self, photos: Collection[str]) -> None:
        self._photos = photos
        self._named: dict[str, list[str]] = {}
        for file in photos:
            added = _ADDED.fullmatch(file)
            for name in {_simplify(file), _simplify(added[1] if added else file)}:
                self._named.setdefault(name, []).append(file)

    def find(self, names: Sequence[str]) -> tuple[str, str]:
        """Return the photo that is meant, and an empty text; or an empty text, and why there is none.

        Args:
            names: Path of the photo below the folder, or its name; then further names that it may have.
        """
        if names[0] in self._photos:
            return names[0], ""
        shown, path = repr(names[0][:80]), PurePosixPath(names[0])
        if "://" in names[0] or names[0].startswith("data:"):
            return "", f"{shown} is an address; only photos of the folder are labelled"
        if path.is_absolute() or ".." in path.parts or "\\" in names[0]:
            return "", f"the path {shown} leaves the folder"
        found = [file for name in names if "/" not in name for file in self._named.get(_simplify(name), ())]
        if len(set(found)) == 1:
            return found[0], ""
        return "", f"{len(found)} photos have the name {shown}" if found else f"the folder has no photo {shown}"


def _simplify(name: str) -> str:
    """Return what stays of a photo's name in every program."""
    return make_safe(normalize("NFC", name)).replace("_", "-").lower()


def make_safe(name: str) -> str:
    """Return the last part of an upload's name without its suffix, of letters, digits, `_`, `.` and `-`."""
    stem = re.sub(r"\.[A-Za-z]{3,4}$", "", re.split(r"[/\\]", name)[-1])
    return re.sub(r"[^\w.-]+", "-", stem).strip(".-")[:40] or "photo"
