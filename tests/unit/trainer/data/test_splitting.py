"""Which images are held out: shares per class, whole groups, earlier sides, and what gives way when these clash."""

import hashlib
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import pytest

from eaves.dataset_folder import Split
from eaves.errors import DatasetError
from trainer.data.splitting import SplitEntry, assign_sides


def digest(name: object) -> str:
    return hashlib.sha256(str(name).encode()).hexdigest()


def items(label: str, count: int, *, group: str = "", start: int = 0) -> list[SplitEntry]:
    return [
        SplitEntry(digest=digest(f"{label} {number}"), label=label, group=group)
        for number in range(start, start + count)
    ]


def grouped(label: str, groups: int, size: int, prefix: str = "") -> list[SplitEntry]:
    return [
        item
        for number in range(groups)
        for item in items(label, size, group=f"{prefix or label}{number}", start=number * size)
    ]


def place(
    found: Sequence[SplitEntry], fraction: float = 0.2, seed: int = 0, known: Mapping[str, Split] | None = None
) -> tuple[dict[str, Split], dict[str, int]]:
    """Side of each image, and the groups on both sides."""
    sides, parted = assign_sides(found, fraction=fraction, seed=seed, known=known or {})
    return {item.digest: side for item, side in zip(found, sides, strict=True)}, parted


def held(found: Sequence[SplitEntry], sides: Mapping[str, Split]) -> dict[str, int]:
    return dict(Counter(item.label for item in found if sides[item.digest] == "val"))


def whole(found: Sequence[SplitEntry], sides: Mapping[str, Split]) -> Iterable[str]:
    """Groups that are on one side."""
    of: dict[str, set[Split]] = {}
    for item in found:
        of.setdefault(item.group, set()).add(sides[item.digest])
    return [name for name, both in of.items() if len(both) == 1]


@pytest.mark.parametrize(
    ("count", "fraction", "expected"),
    [(100, 0.13, 13), (9, 0.01, 2), (4, 0.9, 2)],
)
def test_every_class_holds_out_its_share(count: int, fraction: float, expected: int):
    found = [*items("a", count), *items("b", 40)]
    assert held(found, place(found, fraction)[0])["a"] == expected


def test_neither_order_nor_the_other_classes_change_a_side_and_a_seed_does():
    found = [*items("a", 50), *items("b", 50), *grouped("c", 10, 5)]
    first, _ = place(found)
    shuffled = found.copy()
    random.Random(1).shuffle(shuffled)
    assert place(shuffled)[0] == first
    assert {digest: place(items("a", 50))[0][digest] for digest in place(items("a", 50))[0]}.items() <= first.items()
    assert place(found, seed=1)[0] != first


def test_a_group_of_several_classes_stays_whole():
    found = [*grouped("ok", 10, 4, prefix="part"), *grouped("scratch", 10, 3, prefix="part")]
    sides, parted = place(found)
    assert not parted
    assert held(found, sides) == {"ok": 8, "scratch": 6}


@pytest.mark.parametrize("seed", range(5))
def test_known_sides_stay_and_new_images_fill_up(seed: int):
    before = [*items("a", 40), *items("b", 40)]
    known, _ = place(before, seed=seed)
    after = [*before[10:], *items("a", 40, start=100), *items("c", 10)]
    sides, _ = place(after, seed=seed + 1, known=known)
    assert all(sides[item.digest] == known[item.digest] for item in before[10:])
    share = held(after, sides)
    assert share["c"] == 2
    assert share["a"] == 14  # of 70 that are left


def test_what_is_new_in_a_group_follows_its_known_images():
    trained, held_out = items("a", 1, group="copies:1"), items("a", 1, group="copies:2", start=1)
    known: dict[str, Split] = {trained[0].digest: "train", held_out[0].digest: "val"}
    new_one, new_other = items("a", 3, group="copies:1", start=10), items("a", 3, group="copies:2", start=20)
    found = [*trained, *held_out, *new_one, *new_other, *items("a", 30, start=40), *items("b", 10)]
    sides, parted = place(found, known=known)
    assert {sides[item.digest] for item in new_one} == {"train"}
    assert {sides[item.digest] for item in new_other} == {"val"}
    assert not parted


def test_new_images_of_a_group_that_is_on_both_sides_already_are_trained_on_and_reported():
    pair = items("a", 2, group="copies:1")
    known: dict[str, Split] = {pair[0].digest: "train", pair[1].digest: "val"}
    new = items("a", 2, group="copies:1", start=10)
    sides, parted = place([*pair, *new, *items("a", 30, start=40), *items("b", 10)], known=known)
    assert {sides[item.digest] for item in new} == {"train"}
    assert parted == {"copies:1": 4}


def test_known_sides_that_leave_a_class_without_held_out_images_are_refused():
    found = [*items("a", 10), *items("b", 10)]
    known: dict[str, Split] = dict.fromkeys([item.digest for item in found], "train")
    with pytest.raises(DatasetError, match="the class a has 10 images to train on and 0 held out") as caught:
        place(found, known=known)
    assert caught.value.hint is not None
    assert "--split new" in caught.value.hint


@pytest.mark.parametrize("seed", range(40))
def test_whatever_the_groups_are_both_sides_have_every_class(seed: int):
    chance = random.Random(seed)
    found: list[SplitEntry] = []
    for label in "abc":
        start = 0
        for number in range(chance.randint(1, 6)):
            size = chance.choice([1, 2, 4, 30])
            name = chance.choice(["", f"{label}{number}", f"shared{chance.randint(0, 3)}"])
            found += items(label, size, group=name, start=start)
            start += size
        found += items(label, max(0, 4 - start), start=start)
    sides, parted = place(found, chance.choice([0.05, 0.2, 0.5]), seed)
    sizes, val = Counter(item.label for item in found), held(found, sides)
    assert all(2 <= val[label] <= sizes[label] - 2 for label in "abc")
    both = {item.group for item in found if item.group} - set(whole(found, sides))
    assert set(parted) == both


def test_of_groups_that_are_all_larger_than_the_share_the_smallest_is_held_out():
    found = [
        *items("a", 30, group="day1"),
        *items("a", 25, group="day2", start=30),
        *items("a", 45, group="day3", start=60),
    ]
    for seed in range(3):
        assert held([*found, *items("b", 20)], place([*found, *items("b", 20)], 0.05, seed)[0]) == {"a": 25, "b": 2}
