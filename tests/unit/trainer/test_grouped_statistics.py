"""Figures and bounds on images of which some belong together, as simulations of shots of parts show them."""

import numpy as np
import numpy.typing as npt
import pytest

from eaves.base.statistics import paired_drop_bound, wilson
from trainer.grouped_statistics import JudgedImages


def draw_shares(rng: np.random.Generator, share: float, correlation: float, parts: int) -> npt.NDArray[np.float64]:
    """Draw the share of shots of each part that a model gets right."""
    if not correlation:
        return np.full(parts, share)
    scale = (1 - correlation) / correlation
    return rng.beta(share * scale, (1 - share) * scale, parts)


def build_shots(parts: int, shots: int, *, balanced: bool = False) -> JudgedImages:
    """So many shots of each part; the parts of two classes alternate."""
    part = np.repeat(np.arange(parts), shots)
    return JudgedImages(strata=part % 2 if balanced else np.zeros_like(part), groups=part)


@pytest.mark.parametrize(("parts", "shots"), [(4, 20), (20, 10)])
@pytest.mark.parametrize("correlation", [0.0, 0.6])
def test_the_interval_contains_the_true_share_however_the_shots_of_a_part_depend_on_each_other(
    parts: int, shots: int, correlation: float
):
    """Intervals of independent images contained it in 43 to 97 % of these cases."""
    rng, images = np.random.default_rng(0), build_shots(parts, shots)
    covered = 0
    for _ in range(1000):
        shares = draw_shares(rng, 0.7, correlation, parts)
        found = images.estimate((rng.random((parts, shots)) < shares[:, np.newaxis]).ravel())
        covered += found.low <= 0.7 <= found.high
    assert covered >= 930


@pytest.mark.parametrize(("parts", "shots"), [(30, 1), (30, 3), (12, 10)])
def test_parts_with_images_of_both_classes_are_not_taken_for_two_parts_each(parts: int, shots: int):
    """Intervals of the mean recall in which the classes were independent contained it in 81 to 88 % of these cases."""
    rng, part = np.random.default_rng(2), np.repeat(np.arange(parts), 2 * shots)
    images, covered = JudgedImages(strata=np.tile(np.repeat([0, 1], shots), parts), groups=part), 0
    for _ in range(600):
        shares = draw_shares(rng, 0.7, 0.6, parts)
        found = images.estimate(rng.random(len(part)) < shares[part])
        covered += found.low <= 0.7 <= found.high
    assert covered >= 0.93 * 600


def test_where_every_image_is_a_group_the_intervals_are_those_of_independent_images():
    right = np.arange(200) < 150
    found = JudgedImages(range(200)).estimate(right)
    assert (found.low, found.high, found.effective) == (*wilson(150, 200), 200)
    worse = np.arange(200) < 145
    bound = JudgedImages(range(200)).bound_drop(right, worse)
    assert bound == pytest.approx(paired_drop_bound(5, 0, 200), abs=1e-9)


def test_shots_that_always_agree_are_worth_their_parts():
    parts = np.arange(40) % 10 < 7
    shots = build_shots(40, 25)
    found = shots.estimate(np.repeat(parts, 25))
    assert (found.images, found.groups) == (1000, 40)
    assert found.effective == pytest.approx(40, rel=0.1)
    assert shots.estimate(np.ones(1000, bool)).low < wilson(40, 40)[0], "nothing is known of how they depend"


def test_a_rare_class_counts_as_much_as_a_frequent_one():
    """40 good parts to 1 defect: accuracy called a perfect detector of defects worse than always good."""
    truth = np.repeat([0, 1], [10, 400])
    right = np.ones(410, bool)
    right[10:20] = False
    found = JudgedImages(range(410), truth).estimate(right)
    assert found.value == pytest.approx((1 + 390 / 400) / 2)
    assert 0.8 < found.low < 0.9, "ten defects are few"


@pytest.mark.long("finds the bound of 60 simulated comparisons")
def test_a_loss_beyond_the_bound_is_rare():
    """The new model gets 2 % of the shots right that the old one got wrong, and loses 7 %, whole parts at once."""
    parts, shots, correlation = 40, 10, 0.3
    rng, images = np.random.default_rng(0), build_shots(parts, shots)
    beyond = 0
    for _ in range(60):
        drawn, shares = rng.random((parts, shots)), draw_shares(rng, 0.07, correlation, parts)
        lost = drawn < shares[:, np.newaxis]
        gained = (drawn > 0.98) & ~lost
        beyond += images.bound_drop(~gained.ravel(), ~lost.ravel()) < 0.05
    assert beyond <= 6
