"""Finds groups of images that stay on one side of the split: copies of a photo, and the groups of `data.group_by`.

A group of copies is an image and its direct copies. A copy of a copy that isn't like the first image starts another
group, so that a long burst becomes several groups.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from eaves.errors import DatasetError
from trainer.data.split.near_duplicates import FingerprintIndex, ImageFingerprint

NEAR_COPIES = ("exact", "similar", "off")
COPIES = "copies:"
"""Prefix of the name of a group of copies; the start of its first image's digest follows."""
BLOCK = 128
"""Number of images that are compared with all images at once; the table of their pairs takes 6.4 MB for 50,000 images.
"""
_KINDS = ("folder", "name", "column")


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupBy:
    """A parsed `data.group_by`.

    Attributes:
        kind: `folder`, `name` or `column`.
        level: Depth of the folder that names the group; 1 is the first below the class's folder.
        pattern: Regular expression for a file's name; its first group names the group.
        column: Name of the manifest's column that names the group.
    """

    kind: str
    level: int = 0
    pattern: re.Pattern[str] | None = None
    column: str = ""

    def key(self, below: PurePosixPath, columns: Mapping[str, str]) -> str:
        """Return the name of an image's group; empty when the image is in none.

        Args:
            below: The file's path below its class's folder, or below the manifest's.
            columns: Name and value of the manifest's further columns of the image.
        """
        if self.kind == "column":
            return columns.get(self.column, "")
        if self.kind == "folder":
            return "/".join(below.parts[: self.level]) if len(below.parts) > self.level else ""
        found = self.pattern.search(below.name) if self.pattern else None
        return (found.group(1) or "") if found else ""


def parse_group_by(text: str) -> GroupBy | None:
    """Parse a text `folder:LEVEL`, `name:PATTERN` or `column:NAME`; return None for an empty text.

    Raises:
        ValueError: The text is none of these; the message says what is wrong.
    """
    if not text:
        return None
    kind, _, value = text.partition(":")
    if kind not in _KINDS or not value:
        raise ValueError("must be folder:LEVEL, name:PATTERN or column:NAME")
    if kind == "column":
        return GroupBy(kind=kind, column=value)
    if kind == "folder":
        if not value.isdecimal() or int(value) < 1:
            raise ValueError("the level in folder:LEVEL must be 1 (the first folder below the class's folder) or more")
        return GroupBy(kind=kind, level=int(value))
    try:
        pattern = re.compile(value)
    except re.error as error:
        raise ValueError(f"the pattern is not a valid regular expression: {error}") from error
    if not pattern.groups:
        raise ValueError("the pattern must have a group in parentheses, such as name:(part[0-9]+)_")
    return GroupBy(kind=kind, pattern=pattern)


def check_used(text: str, keys: Sequence[str]) -> None:
    """Check that `data.group_by` puts at least one image into a group.

    Raises:
        DatasetError: No image is in a group.
    """
    if not any(keys):
        raise DatasetError(
            f"data.group_by {text!r} matches none of {len(keys)} images",
            hint="compare data.group_by with the paths of the images, or leave it empty",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyGroups:
    """Groups of copies, and whether the images are shots by a fixed camera.

    Attributes:
        groups: Positions of the images of each group; an image without copies is in no group.
        note: Sentence for people when most images are shots by a fixed camera; else empty.
    """

    groups: list[list[int]]
    note: str = ""


def group_copies(
    looks: Sequence[ImageFingerprint | None], digests: Sequence[str], labels: Sequence[int], near_copies: str
) -> CopyGroups:
    """Group the images that are copies of each other.

    In the order of the digests, each image is grouped with those of its copies that are in no earlier group. The pairs
    of `BLOCK` images are searched at once, so that thousands of pictures that all look alike fit into memory.

    Args:
        looks: Fingerprint of each image.
        digests: sha256 of each image, hex; the smallest one begins the first group, whatever the order is.
        labels: Class of each image.
        near_copies: Pictures that count as copies. `exact`: copies of one photo, whatever their classes; `similar`:
            pictures of one class that look alike; `off`: none.
    """
    if near_copies == "off":
        return CopyGroups(groups=[])
    ranked = [
        (position, item) for position in sorted(range(len(looks)), key=digests.__getitem__) if (item := looks[position])
    ]
    positions = [position for position, _ in ranked]
    of = np.array([labels[position] for position in positions], dtype=np.int64)
    pictures = FingerprintIndex([item for _, item in ranked], of if near_copies == "exact" else None)
    find = pictures.copies if near_copies == "exact" else pictures.similar
    free, groups = np.ones(len(ranked), dtype=np.bool_), list[list[int]]()
    for start in range(0, len(ranked), BLOCK):
        block = start + np.flatnonzero(free[start : start + BLOCK])
        near = np.zeros((BLOCK, len(ranked)), dtype=np.bool_)
        for first, second in find(block):
            near[first - start, second] = (near_copies == "exact") | (of[first] == of[second])
        for leader in block:
            if free[leader]:
                group = [int(leader), *np.flatnonzero(near[leader - start] & free).tolist()]
                free[group] = False
                if len(group) > 1:
                    groups.append([positions[item] for item in group])
    note = (
        f"fixed camera: {pictures.shots} of {len(looks)} images are nearly the same picture and are taken for "
        "different parts; if several show one part, name the part in data.group_by"
    )
    return CopyGroups(groups=groups, note=note if pictures.shots else "")
