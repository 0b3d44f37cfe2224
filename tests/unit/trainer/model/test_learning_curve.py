"""How a learning curve is measured, and what more labels are expected to bring."""

from collections.abc import Sequence

import numpy as np

from trainer.model.label_doubts import RIDGES, JudgedLabels
from trainer.model.learning_curve import MORE, LearningCurve, measure_curve
from trainer.model.linear_head import LabelledRows


def draw_curve(
    labels: int, final: float, slope: float, *, seed: int = 0, groups: Sequence[str] = (), first: int = 25
) -> LearningCurve:
    """Draw which labels are predicted where the accuracy is `final` - `slope` / labels; a few change at each point."""
    rng, counts = np.random.default_rng(seed), np.arange(first, labels + 1, 25)
    hard = rng.uniform(size=labels) if not groups else np.repeat(rng.uniform(size=labels // 4), 4)
    right = np.array([hard + rng.normal(0, 0.02, labels) < final - slope / count for count in counts])
    rows = LabelledRows.of([0, 1] * (labels // 2), groups)
    return LearningCurve(
        counts=counts, right=right, judged=JudgedLabels(rows=rows, recipe=RIDGES[0], scores=np.zeros((labels, 2)))
    )


def test_the_gain_of_a_known_curve_is_estimated_and_lies_in_the_interval():
    real = 30 * (1 / 200 - 1 / (200 + MORE))
    found = [expected for seed in range(200) if (expected := draw_curve(200, 0.9, 30, seed=seed).expect())]
    assert abs(np.mean([one.gain for one in found]) - real) < real / 10
    inside = np.mean([one.low <= real <= one.high for one in found])
    assert inside >= 0.93
    widths = [one.high - one.low for one in found]
    assert np.mean(widths) < 5 * real, "an interval that holds everything says nothing"


def test_no_gain_is_claimed_where_none_is_shown():
    flat, steep = draw_curve(500, 0.9, 0).expect(), draw_curve(2000, 0.9, 30, first=50).expect()
    early = draw_curve(100, 0.95, 15, seed=3).expect()
    assert flat
    assert steep
    assert early
    assert flat.low <= 0 <= flat.high
    assert flat.text.endswith(" with 95 % confidence), so no gain is shown")
    assert 0 < early.low < early.gain < early.high
    assert early.text == (
        f"50 more labels are expected to bring {100 * early.gain:.1f} points ({100 * early.low:.1f} to "
        f"{100 * early.high:.1f} with 95 % confidence)"
    )
    assert steep.high - steep.low < flat.high - flat.low


def test_copies_of_a_photo_make_the_intervals_no_narrower():
    names = [str(row // 4) for row in range(400)]
    piles, alone = draw_curve(400, 0.8, 20, groups=names), draw_curve(400, 0.8, 20)
    low, high = (np.mean([point.high - point.low for point in each.points()]) for each in (alone, piles))
    assert high > 1.5 * low
    expected = [draw_curve(400, 0.9, 200, groups=each).expect() for each in ((), names)]
    few, many = (one.high - one.low for one in expected if one)
    assert many > 1.5 * few


def test_a_short_curve_expects_nothing():
    assert draw_curve(40, 0.9, 5).expect() is None
    assert draw_curve(60, 0.9, 5, first=50).expect() is None
    assert draw_curve(50, 0.9, 5).expect()


def test_a_curve_has_the_labels_in_their_order_and_judges_all_of_them_at_each_point():
    """The first 50 labels are of two classes, those after them of a third one."""
    rng, labels = np.random.default_rng(1), np.array([0, 1] * 25 + [2] * 50)
    features = np.eye(3)[labels] * 8 + rng.normal(size=(100, 3))
    points = measure_curve(features, LabelledRows.of(labels.tolist())).points()
    assert [point.labels for point in points] == [25, 50, 75, 100]
    assert [round(point.accuracy, 1) for point in points] == [0.5, 0.5, 1.0, 1.0]
    assert all(point.low <= point.accuracy <= point.high for point in points)


def test_a_curve_begins_where_every_head_has_seen_two_classes_and_has_few_points():
    labels = np.array([0] * 60 + [1] * 640)
    features = np.eye(2)[labels] * 8 + np.random.default_rng(1).normal(size=(700, 2))
    counts = measure_curve(features, LabelledRows.of(labels.tolist())).counts.tolist()
    assert counts == [75, 150, 225, 300, 375, 450, 525, 600, 675, 700]
