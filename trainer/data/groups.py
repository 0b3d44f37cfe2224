"""Finds groups of images that stay on one side of the split: images that look alike, and groups of `data.group_by`.

A chain of pictures, each of which looks like the next one, is one group, so that a burst is on one side.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from trainer.data.listing import LabelledImage
from trainer.data.near_duplicates import FingerprintIndex, Positions, unite
from trainer.progress import SILENT, TrainingProgress

NEAR_COPIES = ("similar", "exact", "off")
COPIES = "copies:"
"""Prefix of the name of a group of copies; the start of its first image's digest follows."""


GroupKey = Callable[[PurePosixPath, Mapping[str, str]], str]
"""Function from a file's path below its class's folder (or below the manifest's) and the manifest's further columns of
the image to the name of the image's group; empty when the image is in none."""


def parse_group_by(text: str) -> GroupKey | None:
    """Parse a text `folder:LEVEL`, `name:PATTERN` or `column:NAME`; return None for an empty text.

    Raises:
        ValueError: The text is none of these; the message says what is wrong.
    """
    if not text:
        return None
    kind, _, value = text.partition(":")
    if kind not in ("folder", "name", "column") or not value:
        raise ValueError("must be folder:LEVEL, name:PATTERN or column:NAME")
    if kind == "column":
        return lambda _below, columns: columns.get(value, "")
    if kind == "folder":
        if not value.isdecimal() or int(value) < 1:
            raise ValueError("the level in folder:LEVEL must be 1 (the first folder below the class's folder) or more")
        level = int(value)
        return lambda below, _columns: "/".join(below.parts[:level]) if len(below.parts) > level else ""
    try:
        pattern = re.compile(value)
    except re.error as error:
        raise ValueError(f"the pattern is not a valid regular expression: {error}") from error
    if not pattern.groups:
        raise ValueError("the pattern must have a group in parentheses, such as name:(part[0-9]+)_")
    return lambda below, _columns: (found.group(1) or "") if (found := pattern.search(below.name)) else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyGroups:
    """Sets of images, as their positions; an image that is like no other is in no set.

    Attributes:
        groups: Images that stay on one side of the split.
        alike: Images of any class that look alike, whether they are grouped or not; none for `off`.
        copies: Images of any class that are copies of one photo.
        note: Sentence for people about shots by a fixed camera; empty when there are none.
    """

    groups: list[list[int]]
    alike: list[list[int]]
    copies: list[list[int]]
    note: str = ""


def group_copies(images: Sequence[LabelledImage], near_copies: str, progress: TrainingProgress = SILENT) -> CopyGroups:
    """Group the images that look alike, and the copies of one photo, as `near_copies` says.

    Args:
        images: The images; those of a group are in the order of their digests, whatever the order here is.
        near_copies: Images that are grouped. `similar`: pictures of one class that look alike, and copies of one
            photo; `exact`: only copies of one photo; `off`: none.
        progress: Receives one step for each image of a comparison.
    """
    if near_copies == "off":
        return CopyGroups(groups=[], alike=[], copies=[])
    order = sorted(range(len(images)), key=lambda position: images[position].digest)
    ranked = [(position, look) for position in order if (look := images[position].look)]
    positions = [position for position, _ in ranked]
    labels = np.unique([images[position].label for position in positions], return_inverse=True)[1].astype(np.int64)
    index = FingerprintIndex([look for _, look in ranked], labels, progress)
    copied = np.arange(len(ranked))
    for first, second in index.copies(sets=copied):
        unite(copied, first, second)
    for names in (index.groups, index.alike):
        unite(names, np.arange(len(ranked)), copied)

    def sets(names: Positions) -> list[list[int]]:
        found: dict[int, list[int]] = {}
        for position, name in zip(positions, names.tolist(), strict=True):
            found.setdefault(name, []).append(position)
        return [each for each in found.values() if len(each) > 1]

    copies, groups = sets(copied), sets(index.groups)
    chosen = groups if near_copies == "similar" else copies
    kept = sum(map(len, chosen))
    note = f"fixed camera: {index.shots} of {len(images)} images are nearly the same picture; "
    if kept and near_copies == "similar":
        note += (
            f"by what differs from their mean picture, {kept} images in {len(chosen)} groups look alike and count as "
            "shots of one part: if these are different parts, set data.near_copies: off; if others"
        )
    else:
        note += "they are taken for different parts: if several"
    note += " show one part, name the part in data.group_by"
    return CopyGroups(groups=chosen, alike=sets(index.alike), copies=copies, note=note if index.shots else "")


def join_piles(groups: list[list[int]], images: Sequence[LabelledImage]) -> list[list[int]]:
    """Return the groups, joined with the piles of photos that a person has labelled together.

    Args:
        groups: Groups of images as their positions.
        images: The images, with the names of their piles as groups; an image without a name is in no pile.

    Returns:
        Groups of two or more images, each in the order of their digests.
    """
    piles = defaultdict[str, list[int]](list)
    for position, image in enumerate(images):
        if image.group:
            piles[image.group].append(position)
    if not piles:
        return groups
    names = np.arange(len(images))
    for group in (*groups, *piles.values()):
        unite(names, np.array(group[:-1], np.int64), np.array(group[1:], np.int64))
    joined = defaultdict[int, list[int]](list)
    for position in sorted(range(len(images)), key=lambda position: images[position].digest):
        joined[int(names[position])].append(position)
    return [group for group in joined.values() if len(group) > 1]


MIN_GROUPS = 4
"""Minimum number of groups in each class of a plausible proposal: two to train on and two to hold out."""
MIN_GROUPED, MIN_BOUND = 0.5, 0.1
"""Minimum share of the images that are in groups of two or more, and that would be bound to images from which they are
separate without the proposal."""
MIN_NAMED = 0.9
"""Minimum share of the files' names that have the same form."""


def propose_group_by(images: Sequence[LabelledImage], groups: Sequence[str]) -> str:
    """Return a sentence for people that proposes a value of `data.group_by`; empty when none is plausible.

    Args:
        images: The images.
        groups: Name of each image's group without the proposal; another one for each image that is in none.
    """
    paths, labels = [image.below for image in images], [image.label for image in images]
    for text in ("folder:2", "folder:1", *_name_settings([path.name for path in paths])):
        by = parse_group_by(text)
        keys = [by(path, {}) if by else "" for path in paths]
        if _is_plausible(keys, labels, groups):
            kind = "folders" if text.startswith("folder") else "names"
            return (
                f"by their {kind}, {len(paths)} images show {len(set(keys) - {''})} parts, days or cameras; if these "
                f"succeed or fail together, set data.group_by: {text}"
            )
    return ""


def _name_settings(names: Sequence[str]) -> Iterator[str]:
    """Yield settings for the common form of the names, those that give the largest groups first."""
    for cut in (3, 2, 1):
        forms = Counter[tuple[str, str]]()
        for name in names:
            parts = re.split(r"([-_ ])", PurePosixPath(name).stem)
            if len(parts) > 2 * cut:
                head = re.escape("".join(parts[: -2 * cut])).replace("\\-", "-")
                forms[re.sub("[0-9]+", "[0-9]+", head), parts[-2 * cut]] += 1
        for (form, separator), count in forms.most_common(1):
            if count >= MIN_NAMED * len(names):
                yield f"name:({form}){separator}"
    yield "name:^(.+)[-_ ][0-9]+[.]"


def _is_plausible(keys: Sequence[str], labels: Sequence[str], groups: Sequence[str]) -> bool:
    members, of_class = defaultdict[str, list[str]](list), defaultdict[str, Counter[str]](Counter)
    for key, label, group in zip(keys, labels, groups, strict=True):
        if key:
            members[key].append(group)
        of_class[label][key or f"\0{group}"] += 1
    grouped = [found for found in members.values() if len(found) > 1]
    bound = sum(len(found) for found in grouped if len(set(found)) > 1)
    return (
        sum(map(len, grouped)) >= MIN_GROUPED * len(keys)
        and bound > MIN_BOUND * len(keys)
        and all(len(names) >= MIN_GROUPS for names in of_class.values())
        and all(2 * max(names.values()) <= names.total() for names in of_class.values())  # one of most is the class
    )
