"""What decides between int8 and fp32: bounds on counts, classes, agreement, and what is missing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from converters.int8.evidence import (
    NO_LABEL,
    AllowedLoss,
    Indices,
    assess_candidate,
    can_pass,
    count_missing,
    explain,
)
from eaves.artifact import Evidence
from eaves.base.statistics import images_needed, lower_bound, paired_drop_bound

LABELS = ("daisy", "rose", "tulip", "weed")
ALLOWED = AllowedLoss(drop=0.03, agreement=0.95)


def answers(n: int, *, lost: int = 0, gained: int = 0, unlabelled: int = 0, different: int = 0) -> list[Indices]:
    """Truth, fp32's and int8's answers: right, but for `lost` by int8, `gained` by it, `different` unlabelled."""
    truth = np.arange(n) % 4
    fp32, int8 = truth.copy(), truth.copy()
    int8[:lost] = (truth[:lost] + 1) % 4
    fp32[lost : lost + gained] = (truth[lost : lost + gained] + 1) % 4
    more = np.arange(unlabelled) % 4
    other = more.copy()
    other[:different] = (more[:different] + 1) % 4
    unknown = np.full(unlabelled, NO_LABEL)
    return [np.concatenate(pair) for pair in ((truth, unknown), (fp32, more), (int8, other))]


def judged(n: int, allowed: AllowedLoss = ALLOWED, **counts: int) -> Evidence:
    truth, fp32, int8 = answers(n, **counts)
    return assess_candidate(truth, fp32, int8, LABELS, allowed)


def test_labels_show_a_small_loss() -> None:
    found = judged(400, lost=2, gained=1)
    assert (found.kind, found.passed, found.labelled_images, found.lost, found.gained) == ("labels", True, 400, 2, 1)
    assert found.drop_bound_95 == paired_drop_bound(2, 1, 400) < 0.03
    assert found.missing_labelled == 0


@pytest.mark.parametrize("n", [1, 13, 98])
def test_few_images_show_nothing_even_when_no_answer_differs(n: int) -> None:
    found = judged(n)
    assert not found.passed
    assert found.drop_bound_95 > 0.03
    assert found.missing_labelled >= 99 - n
    assert found.missing_images == 500 - n


def test_a_small_observed_loss_is_no_proof() -> None:
    """Two images of 150 are 1.3 points, less than the 3 allowed; that a gate of observed losses would ship."""
    found = judged(150, lost=3, gained=1)
    assert (found.lost - found.gained) / 150 < 0.03 < found.drop_bound_95
    assert not found.passed
    assert (found.kind, found.missing_labelled) == ("labels", images_needed(5 / 200, 0.03) - 150)


def with_class(images: int, lost: int, others: int = 495, different: int = 0) -> Evidence:
    """The last class has `images`, of which int8 names `lost` otherwise; the others are all right."""
    truth = np.concatenate([np.arange(others) % 3, np.full(images, 3)])
    int8 = truth.copy()
    int8[others : others + lost] = 0
    int8[:different] = (int8[:different] + 1) % 3
    return assess_candidate(truth, truth, int8, LABELS, ALLOWED)


def test_a_class_that_vanishes_refuses_int8_though_all_lose_little() -> None:
    found = with_class(5, 5)
    assert found.drop_bound_95 <= 0.03
    assert (found.passed, found.classes_beyond, found.kind) == (False, ("weed",), "labels")


@pytest.mark.parametrize(("images", "lost"), [(1, 1), (5, 2), (100, 6)])
def test_a_class_of_few_images_is_not_refused_for_chance(images: int, lost: int) -> None:
    assert with_class(images, lost).classes_beyond == ()


def test_what_a_class_gains_makes_up_for_what_it_loses() -> None:
    truth = np.concatenate([np.arange(600) % 3, np.full(40, 3)])
    fp32, int8 = truth.copy(), truth.copy()
    int8[600:610] = 0
    assert assess_candidate(truth, fp32, int8, LABELS, ALLOWED).classes_beyond == ("weed",)
    fp32[610:620] = 0
    assert assess_candidate(truth, fp32, int8, LABELS, ALLOWED).classes_beyond == ()


def test_agreement_on_500_images_ships_where_labels_do_not_suffice() -> None:
    found = judged(120, lost=2, gained=1, unlabelled=480, different=8)
    assert (found.kind, found.passed, found.images, found.labelled_images) == ("agreement", True, 600, 120)
    assert found.agreement == pytest.approx(589 / 600)
    assert found.agreement_bound_95 == lower_bound(589, 600) >= 0.95
    assert (found.missing_images, found.missing_labelled > 0) == (0, True)


def test_agreement_on_499_images_is_no_judgement() -> None:
    found = judged(0, unlabelled=499)
    assert (found.kind, found.passed, found.missing_images) == ("none", False, 1)


def test_agreement_counts_by_its_bound() -> None:
    found = judged(0, unlabelled=500, different=20)
    assert found.agreement == 0.96
    assert found.agreement_bound_95 < 0.95
    assert (found.kind, found.passed) == ("agreement", False)


def test_agreement_never_overrules_labels_that_contradict() -> None:
    found = judged(120, lost=6, unlabelled=4000)
    assert found.agreement_bound_95 > 0.95
    assert (found.kind, found.passed) == ("labels", False)


def test_agreement_is_no_way_round_labels_that_suffice() -> None:
    """500 images decide about 3 points where 2.8 % of answers differ, and this graph loses 2.8 points."""
    found = judged(500, lost=14)
    assert found.agreement_bound_95 > 0.95
    assert (found.kind, found.passed, found.missing_images) == ("labels", False, 0)
    with_photos = judged(450, lost=13, unlabelled=4000)
    assert with_photos.agreement_bound_95 > 0.99
    assert (with_photos.kind, with_photos.passed) == ("labels", False)
    assert judged(150, lost=3, unlabelled=400).kind == "agreement", "150 don't suffice, so that agreement decides"


def test_the_images_that_are_missing_are_those_that_would_show_it() -> None:
    assert count_missing(3, 1, 150, 0.01) == images_needed(5 / 200, 0.01) - 150
    assert 50 <= count_missing(2, 1, 150, 0.03) <= 150
    assert count_missing(0, 0, 0, 0.03) == images_needed(0.02, 0.03)
    assert count_missing(60, 30, 2000, 0.03) >= 200, "as many as are needed are there, and it loses 1.5 points"
    assert count_missing(90, 30, 2000, 0.03) == 0, "it loses as much as is allowed: no number would help"
    assert count_missing(0, 0, 10, 0.0) == 0


@pytest.mark.parametrize(
    ("labelled", "images", "drop", "possible"),
    [
        (98, 98, 0.03, False),
        (99, 99, 0.03, True),
        (0, 500, 0.03, True),
        (298, 499, 0.01, False),
    ],
)
def test_it_is_known_beforehand_whether_so_many_images_could_decide(
    labelled: int, images: int, drop: float, possible: bool
) -> None:
    assert can_pass(labelled, images, AllowedLoss(drop=drop, agreement=0.95)) == possible


# In words.


def reported(n: int, **counts: Any) -> str:
    return explain(judged(n, **counts), 0.03)


def test_a_pass_tells_loss_bound_images_and_what_more_would_show() -> None:
    assert reported(400, lost=3, gained=1) == (
        "int8 lost 0.5 points, at most 1.7 with 95 % confidence, on 400 images; "
        "650 more images could show a loss of at most 1 point"
    )
    assert reported(5000, lost=20, gained=25).startswith("int8 gained 0.1 points, at most 0.2 with 95 % confidence")
    assert "could show" not in reported(5000, lost=20, gained=25)


def test_a_refusal_tells_what_is_missing() -> None:
    assert reported(150, lost=3, gained=1) == (
        "int8 lost 1.3 points, at most 4.5 with 95 % confidence, on 150 images; the limit is 3 points: "
        "140 more labelled images would be enough to decide, or 350 more photos without labels (convert.unlabelled) "
        "would be enough to compare it with fp32"
    )
    assert reported(400, lost=20).endswith("on 400 images; the limit is 3 points")
    assert reported(500, lost=15).endswith("on 500 images; the limit is 3 points"), "no number of images would help"
    assert reported(500, lost=12).endswith(" more labelled images would be enough to decide"), (
        "photos are no way round these labels"
    )
    assert reported(0, unlabelled=20).startswith("no image has a label; 480 more photos without labels")
    weed = explain(with_class(5, 5), 0.03)
    assert weed.endswith("; the accuracy of weed dropped too much")


def test_agreement_is_reported_as_agreement_and_never_as_accuracy() -> None:
    text = reported(120, lost=2, gained=1, unlabelled=480, different=8)
    assert text == (
        "int8 agrees with fp32: on 98.2% of 600 images, at least 96.9% with 95 % confidence, 95% required; "
        "160 more labelled images would be enough to measure its accuracy"
    )
    assert "holds" not in text
    assert reported(0, unlabelled=500, different=20).startswith("int8 agrees too little with fp32")
