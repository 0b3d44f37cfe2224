"""Labels of other programs: CSV, and the JSON export of Label Studio. Nothing here is trusted, fetched or opened.

Source: Label Studio 1.13, `label_studio_sdk.converter`: `data.image` of an uploaded file is `/data/upload/3/HASH-NAME`,
of a file in local storage `/data/local-files/?d=PATH`; a choice is in `annotations[].result[].value.choices`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from eaves.labels_file import parse_rows

MAX_REFUSED = 100
"""Maximum number of refused lines that are named; the others are counted."""
_UPLOADED = re.compile(r"/data/upload/(?:[0-9]+/)?([^/]+)")
_LOCAL = "/data/local-files/"
_HASH = re.compile(r"^[0-9a-f]{8}-")
"""What Label Studio puts before the name of an upload."""
_ADDED = re.compile(r"(.+)-(?:[0-9a-f]{8}|[0-9a-f]{64})\.[a-z]+")
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
        file: Path or name of the photo.
        label: Name of the class, may be empty.
        group: Name of the photo's group, may be empty.
        fault: Why the line can't be used; empty when it can.
        is_name: Whether only the last part of `file` need agree.
    """

    place: str
    file: str = ""
    label: str = ""
    group: str = ""
    fault: str = ""
    is_name: bool = False


def parse_csv(text: str) -> Iterator[ImportedRow]:
    """Yield the rows of a CSV text that name a file."""
    try:
        for line, row in parse_rows(text):
            if file := row.get("file", "").strip():
                yield ImportedRow(f"line {line}", file, row.get("label", "").strip(), row.get("group", "").strip())
    except ValueError as error:
        place, _, fault = str(error).partition(": ")
        yield ImportedRow(place, fault=f"{fault}; from there on nothing is taken")


def parse_label_studio(document: Any) -> Iterator[ImportedRow]:
    """Yield what each task of Label Studio's export says."""
    if not isinstance(document, list):
        yield ImportedRow("the document", fault="it is not a list of tasks; export it from Label Studio as JSON")
        return
    for number, task in enumerate(document, 1):
        place = f"task {number}"
        data = task.get("data") if isinstance(task, dict) else None
        image = data.get("image") if isinstance(data, dict) else None
        if not isinstance(image, str):
            yield ImportedRow(place, fault="it has no data.image")
            continue
        choices = _find_choices(task.get("annotations"))
        if len(choices) != 1:
            yield ImportedRow(place, fault=f"it has {len(choices)} choices, not one")
            continue
        file, is_name = _find_path(image)
        yield ImportedRow(place, file, choices[0], is_name=is_name)


def _find_choices(annotations: Any) -> list[str]:
    """Return the choices of the last annotation that wasn't cancelled."""
    found: list[str] = []
    for each in annotations if isinstance(annotations, list) else ():
        result = each.get("result") if isinstance(each, dict) and not each.get("was_cancelled") else None
        if isinstance(result, list):
            values = [one.get("value") for one in result if isinstance(one, dict)]
            lists = [value.get("choices") for value in values if isinstance(value, dict)]
            found = [text.strip() for texts in lists if isinstance(texts, list) for text in texts if _is_text(text)]
    return found


def _find_path(image: str) -> tuple[str, bool]:
    """Return the path or the name of a task's image, and whether only its last part need agree."""
    if found := _UPLOADED.fullmatch(image):
        return unquote(found[1]), True
    if image.startswith(_LOCAL):
        return parse_qs(urlsplit(image).query).get("d", [""])[0], True
    return image, False


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


class PhotoNames:
    """The photos of a folder by the names that other programs may have for them.

    Args:
        photos: Paths of the photos below the folder.
    """

    def __init__(self, photos: Collection[str]) -> None:
        self._photos = photos
        self._named: dict[str, list[str]] = {}
        for file in photos:
            name = file.rpartition("/")[2]
            self._named.setdefault(_simplify(name), []).append(file)
            if added := _ADDED.fullmatch(name):
                self._named.setdefault(_simplify(added[1]), []).append(file)

    def find(self, row: ImportedRow) -> tuple[str, str]:
        """Return the photo that a row names, or why there is none; one of both is empty."""
        path = PurePosixPath(row.file)
        if row.file in self._photos:
            return row.file, ""
        if "://" in row.file or row.file.startswith("data:"):
            return "", f"{row.file[:80]!r} is an address; only photos of the folder are labelled"
        if path.is_absolute() or ".." in path.parts or "\\" in row.file:
            return "", f"the path {row.file[:80]!r} leaves the folder"
        for start in range(len(path.parts) if row.is_name else 1):
            tail = "/".join(path.parts[start:])
            if tail in self._photos:
                return tail, ""
        found = list[str]()
        for name in (path.name, _HASH.sub("", path.name)) if row.is_name or len(path.parts) == 1 else ():
            found = found or self._named.get(_simplify(name), [])
            found = [file for file in found if file.rpartition("/")[2] == name] or found
        if len(found) == 1:
            return found[0], ""
        return "", f"{len(found)} photos have the name {row.file[:80]!r}" if found else f"no photo {row.file[:80]!r}"


def _simplify(name: str) -> str:
    return make_safe(name).replace("_", "-").lower()


def make_safe(name: str) -> str:
    """Return the last part of an upload's name without its suffix, of letters, digits, `_`, `.` and `-`."""
    last = re.split(r"[/\\]", name)[-1]
    stem = re.sub(r"\.[A-Za-z]{3,4}$", "", last)
    return re.sub(r"[^\w.-]+", "-", stem).strip(".-")[:40] or "photo"
