"""Proposes a value of `data.group_by` where names or folders show that images belong together."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from trainer.data.split.groups import parse_group_by

MIN_GROUPS = 4
"""Minimum number of groups in each class of a plausible proposal: two to train on and two to hold out."""
MIN_GROUPED, MIN_BOUND = 0.5, 0.1
"""Minimum share of the images that are in groups of two or more, and that would be bound to images from which they are
separate without the proposal."""
MIN_NAMED = 0.9
"""Minimum share of the files' names that have the same form."""


def propose_group_by(paths: Sequence[PurePosixPath], labels: Sequence[str], groups: Sequence[str]) -> str:
    """Return a sentence for people that proposes a value of `data.group_by`; empty when none is plausible.

    Args:
        paths: Path of each image below its class's folder.
        labels: Name of each image's class.
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
