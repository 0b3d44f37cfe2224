"""Which images candidates are compared on, and how much each weighs."""

from pathlib import Path

import pytest

from trainer.data.dataset import Dataset
from trainer.data.listing import LabelledImage
from trainer.model.selector import choose_examples, describe_rows


def build_dataset(train: tuple[int, ...], *, balance: str, group: int = 1) -> Dataset:
    """Return a dataset with so many training images of each class, and one held out; `group` shots show one part."""
    examples = tuple(
        LabelledImage(
            path=Path(f"{label}/{number}.png"),
            label=f"c{label}",
            digest=f"{label:02d}{number:062d}",
            split="val" if number == count else "train",
            group=f"{label}-{number // group}" if group > 1 else "",
        )
        for label, count in enumerate(train)
        for number in range(count + 1)
    )
    labels = tuple(f"c{label}" for label in range(len(train)))
    return Dataset(root=Path(), labels=labels, examples=examples, faults=(), declared=False, balance=balance)


@pytest.mark.parametrize(("balance", "share"), [("auto", 0.5), ("none", 0.9)])
def test_a_class_weighs_in_a_sample_as_in_the_training(balance: str, share: float):
    dataset = build_dataset((900, 100), balance=balance)
    chosen = choose_examples(dataset.examples, 300)
    rows = describe_rows(dataset, chosen)
    assert [int((rows.labels == label).sum()) for label in (0, 1)] == [150, 100]
    assert rows.weights.mean() == pytest.approx(1)
    assert rows.weights[rows.labels == 0].sum() / rows.weights.sum() == pytest.approx(share)


def test_only_training_images_are_chosen_and_one_of_each_group_first():
    dataset = build_dataset((40, 40), balance="auto", group=4)
    chosen = choose_examples(dataset.examples, 20)
    assert {example.split for example in chosen} == {"train"}
    assert len({example.group for example in chosen}) == len(chosen) == 20
