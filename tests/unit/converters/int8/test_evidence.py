"""What decides between int8 and fp32: bounds on counts, classes, agreement, and what is missing."""

import numpy as np
import pytest

from converters.int8.evidence import (
    NO_LABEL,
    Indices,
    assess_candidate,
    count_missing,
)
from converters.settings import ConvertSettings
from eaves.artifact.manifest import Evidence
from eaves.base.statistics import images_needed, lower_bound, paired_drop_bound

LABELS = ("daisy", "rose", "tulip", "weed")
ALLOWED = ConvertSettings(max_accuracy_drop=3, min_agreement=0.95)


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


def judged(n: int, allowed: ConvertSettings = ALLOWED, **counts: int) -> Evidence:
    truth, fp32, int8 = answers(n, **counts)
    return assess_candidate(truth, fp32, int8, LABELS, allowed)


def test_labels_show_a_small_loss():
    found = judged(400, lost=2, gained=1)
    assert (found.kind, found.passed, found.labelled_images, found.lost, found.gained) == ("labels", True, 400, 2, 1)
    assert found.drop_bound_95 == paired_drop_bound(2, 1, 400) < 0.03
    assert found.missing_labelled == 0


def with_class(images: int, lost: int, others: int = 495, different: int = 0) -> Evidence:
    """The last class has `images`, of which int8 names `lost` otherwise; the others are all right."""
    truth = np.concatenate([np.arange(others) % 3, np.full(images, 3)])
    int8 = truth.copy()
    int8[others : others + lost] = 0
    int8[:different] = (int8[:different] + 1) % 3
    return assess_candidate(truth, truth, int8, LABELS, ALLOWED)


def test_a_class_that_vanishes_refuses_int8_though_all_lose_little():
    found = with_class(5, 5)
    assert found.drop_bound_95 <= 0.03
    assert (found.passed, found.classes_beyond, found.kind) == (False, ("weed",), "labels")


def test_what_a_class_gains_makes_up_for_what_it_loses():
    truth = np.concatenate([np.arange(600) % 3, np.full(40, 3)])
    fp32, int8 = truth.copy(), truth.copy()
    int8[600:610] = 0
    assert assess_candidate(truth, fp32, int8, LABELS, ALLOWED).classes_beyond == ("weed",)
    fp32[610:620] = 0
    assert assess_candidate(truth, fp32, int8, LABELS, ALLOWED).classes_beyond == ()


def test_agreement_on_500_images_ships_where_labels_do_not_suffice():
    found = judged(120, lost=2, gained=1, unlabelled=480, different=8)
    assert (found.kind, found.passed, found.images, found.labelled_images) == ("agreement", True, 600, 120)
    assert found.agreement == pytest.approx(589 / 600)
    assert found.agreement_bound_95 == lower_bound(589, 600) >= 0.95
    assert (found.missing_images, found.missing_labelled > 0) == (0, True)


def test_agreement_on_499_images_is_no_judgement():
    found = judged(0, unlabelled=499)
    assert (found.kind, found.passed, found.missing_images) == ("none", False, 1)


def test_agreement_never_overrules_labels_that_contradict():
    found = judged(120, lost=6, unlabelled=4000)
    assert found.agreement_bound_95 > 0.95
    assert (found.kind, found.passed) == ("labels", False)


def test_agreement_is_no_way_round_labels_that_suffice():
    """500 images decide about 3 points where 2.8 % of answers differ, and this graph loses 2.8 points."""
    found = judged(500, lost=14)
    assert found.agreement_bound_95 > 0.95
    assert (found.kind, found.passed, found.missing_images) == ("labels", False, 0)
    with_photos = judged(450, lost=13, unlabelled=4000)
    assert with_photos.agreement_bound_95 > 0.99
    assert (with_photos.kind, with_photos.passed) == ("labels", False)
    assert judged(150, lost=3, unlabelled=400).kind == "agreement", "150 don't suffice, so that agreement decides"


def test_the_images_that_are_missing_are_those_that_would_show_it():
    assert count_missing(3, 1, 150, 0.01) == images_needed(5 / 200, 0.01) - 150
    assert 50 <= count_missing(2, 1, 150, 0.03) <= 150
    assert count_missing(0, 0, 0, 0.03) == images_needed(0.02, 0.03)
    assert count_missing(60, 30, 2000, 0.03) >= 200, "as many as are needed are there, and it loses 1.5 points"
    assert count_missing(90, 30, 2000, 0.03) == 0, "it loses as much as is allowed: no number would help"
    assert count_missing(0, 0, 10, 0.0) == 0


# In words.
