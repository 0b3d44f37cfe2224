"""Grouped cross-validation: what is in one fold, which candidate is taken, and that nested answers are honest."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from trainer.model.candidates import (
    RECIPES,
    CandidateAnswers,
    choose_candidate,
    cross_validate,
    estimate_interval,
    predict_nested,
)
from trainer.model.linear_head import LabelledRows


def rows(labels: Sequence[int], groups: Sequence[str] = ()) -> LabelledRows:
    return LabelledRows(
        labels=np.array(labels, np.int64),
        groups=tuple(groups or map(str, range(len(labels)))),
        weights=np.ones(len(labels)),
        classes=max(labels) + 1,
    )


def answers(right: Sequence[int]) -> CandidateAnswers:
    found = np.array(right, bool)
    return CandidateAnswers(recipe=RECIPES[0], divisor=1.0, right=found, accuracy=float(found.mean()))


def test_a_group_is_in_one_fold_and_every_fold_has_its_share_of_each_class():
    labels = [0] * 60 + [1] * 60
    made = rows(labels, [f"part{number // 4}" for number in range(120)])
    folds = made.folds()
    assert len({(group, fold) for group, fold in zip(made.groups, folds, strict=True)}) == len(set(made.groups))
    for label in (0, 1):
        assert set(np.bincount(folds[made.labels == label])) == {12}
    few = rows([0, 1] * 20)
    assert np.bincount(few.folds()).tolist() == [4] * 10


def test_copies_of_an_image_dont_predict_each_other():
    """Each group is one picture, four times, with a coin toss for a label."""
    rng = np.random.default_rng(3)
    features = np.repeat(rng.normal(size=(50, 80)), 4, axis=0)
    labels = np.repeat(rng.permutation([0, 1] * 25), 4).tolist()
    grouped = cross_validate(features, rows(labels, [str(row // 4) for row in range(200)]))
    assert grouped.accuracy < 0.7
    assert cross_validate(features, rows(labels)).accuracy > 0.95


def test_the_smaller_candidate_is_taken_when_it_is_shown_to_lose_little():
    known = rows([0, 1] * 500)
    best = [1] * 990 + [0] * 10
    assert choose_candidate([answers(best), answers(best)], known) == 0
    little = [1] * 985 + [0] * 15
    assert choose_candidate([answers(little), answers(best)], known) == 0
    much = [1] * 965 + [0] * 35
    assert choose_candidate([answers(much), answers(best)], known) == 1
    assert choose_candidate([answers(best), answers(much)], known) == 0


class Quarters(LabelledRows):
    """Images in four folds, one after another, whatever their labels are."""

    def folds(self) -> npt.NDArray[np.int64]:
        return np.arange(len(self.labels)) * 4 // len(self.labels)


@pytest.mark.long("fits all candidates six times")
def test_a_nested_answer_doesnt_depend_on_the_labels_of_its_own_fold():
    """Neither the heads nor the choice of the candidate may have seen them."""
    for seed in range(3):
        rng = np.random.default_rng(seed)
        labels = rng.permutation([0, 1] * 12).astype(np.int64)
        candidates = [rng.normal(size=(24, 10)) for _ in range(5)]
        answers = []
        for own in (labels[:6], 1 - labels[:6]):
            made = Quarters(
                labels=np.concatenate([own, labels[6:]]),
                groups=tuple(map(str, range(24))),
                weights=np.ones(24),
                classes=2,
            )
            answers.append(predict_nested(candidates, made)[:6].tolist())
        assert answers[0] == answers[1], seed


def test_few_images_of_a_class_that_counts_as_much_as_the_others_leave_a_wide_interval():
    """The table showed 400 good and 10 defect images, each class half of the figure, as worth 205 images."""
    labels = np.repeat([0, 1], [400, 10])
    made = replace(rows(labels.tolist()), weights=np.repeat([410 / 800, 410 / 20], [400, 10]))
    right = np.ones(410, bool)
    assert estimate_interval(right, made)[0] < 0.85
    right[400:405] = False
    low, high = estimate_interval(right, made)
    assert low < made.share(right) - 0.15
    assert high > made.share(right) + 0.1
    assert estimate_interval(right, rows(labels.tolist()))[0] > 0.9
