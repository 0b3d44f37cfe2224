"""Proposes a value of `data.group_by` where names, folders or times show that images belong together."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import PurePosixPath

from trainer.data.split.groups import parse_group_by

TAKEN = re.compile(rb"[12]\d{3}:[01]\d:[0-3]\d [0-2]\d:[0-5]\d:[0-5]\d\0")
"""Time as EXIF writes it (tags 0x0132, 0x9003 and 0x9004)."""
EXIF_BYTES = 2**16
"""Number of bytes at the start of a file in which a time is searched; a JPEG's block of EXIF is as large at most."""
BURST_S = 2
"""Maximum number of seconds between two shots of a burst."""
MIN_GROUPS = 4
"""Minimum number of groups in each class of a plausible proposal: two to train on and two to hold out."""
MIN_GROUPED, MIN_BOUND = 0.5, 0.1
"""Minimum share of the images that are in groups of two or more, and that would be bound to images from which they are
separate without the proposal."""
MIN_NAMED = 0.9
"""Minimum share of the files' names that have the same form."""


def find_time(data: bytes) -> str:
    """Return the earliest time in a file's EXIF, such as `2026:03:14 10:15:30`; empty when there is none."""
    head = data[:EXIF_BYTES]
    start = head.find(b"Exif\0\0")
    return min((item[:-1].decode() for item in TAKEN.findall(head, start)), default="") if start >= 0 else ""


def propose_group_by(
    paths: Sequence[PurePosixPath], labels: Sequence[str], times: Sequence[str], groups: Sequence[str]
) -> str:
    """Return a sentence for people that proposes a value of `data.group_by`; empty when none is plausible.

    Args:
        paths: Path of each image below its class's folder.
        labels: Name of each image's class.
        times: Time in each image's EXIF, as `find_time` returns it.
        groups: Name of each image's group without the proposal; another one for each image that is in none.
    """
    for text in ("folder:2", "folder:1", *_name_settings([path.name for path in paths])):
        by = parse_group_by(text)
        keys = [by.key(path, {}) if by else "" for path in paths]
        if _is_plausible(keys, labels, groups):
            kind = "folders" if text.startswith("folder") else "names"
            return (
                f"by their {kind}, {len(paths)} images show {len(set(keys) - {''})} parts, days or cameras; if these "
                f"succeed or fail together, set data.group_by: {text}"
            )
    if _is_plausible(keys := _burst_keys(labels, times), labels, groups):
        bound = sum(count for key, count in Counter(keys).items() if key and count > 1)
        return (
            f"by their EXIF times, {bound} images were taken within {BURST_S} seconds of another one of their class; "
            "if these show the same, name each burst in a column of a manifest and set data.group_by: column:NAME"
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


def _burst_keys(labels: Sequence[str], times: Sequence[str]) -> list[str]:
    """Return the number of each image's burst; empty for an image without a time."""
    keys, before, number = [""] * len(times), ("", 0.0), 0
    for label, time, position in sorted(zip(labels, times, range(len(times)), strict=True)):
        try:
            now = label, datetime.strptime(time, "%Y:%m:%d %H:%M:%S").replace(tzinfo=UTC).timestamp()
        except ValueError:
            continue
        number += label != before[0] or now[1] - before[1] > BURST_S
        keys[position], before = str(number), now
    return keys


def _is_plausible(keys: Sequence[str], labels: Sequence[str], groups: Sequence[str]) -> bool:
    members, of_class = defaultdict[str, list[str]](list), defaultdict[str, set[str]](set)
    for key, label, group in zip(keys, labels, groups, strict=True):
        if key:
            members[key].append(group)
        of_class[label].add(key or f"\0{group}")
    grouped = [found for found in members.values() if len(found) > 1]
    bound = sum(len(found) for found in grouped if len(set(found)) > 1)
    return (
        sum(map(len, grouped)) >= MIN_GROUPED * len(keys)
        and bound > MIN_BOUND * len(keys)
        and all(len(names) >= MIN_GROUPS for names in of_class.values())
    )
