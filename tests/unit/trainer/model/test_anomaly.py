"""Methods that find unusual images: scores from sums, the choice of a method, the threshold and what it promises."""

import keras
import numpy as np
import pytest

from eaves.artifact.manifest import ANOMALY, DIAGONAL, GAUSSIAN, PATCHES
from trainer.model.anomaly import (
    FittedAnomaly,
    bound_alarms,
    choose_method,
    cross_score,
    fit_scorer,
    rank,
    set_threshold,
)
from trainer.model.feature_sums import Features, FeatureSums, SumsOrigin
from trainer.model.keras_model import build_anomaly_model, compile_network
from trainer.settings import TrainSettings

NAMES = ("normal", "anomalous")


def draw(count: int, seed: int, *, unusual: bool = False) -> Features:
    """Features of 3x3 positions, (N, 3, 3, 4), correlated differently at each; at one position against the grain."""
    mix = np.random.default_rng(1).normal(size=(9, 4, 4)) * np.array([3.0, 1.0, 1.0, 0.1])
    plain = np.random.default_rng(seed).normal(size=(count, 9, 4))
    found = np.einsum("npd,ped->npe", plain, mix)
    if unusual:
        found[:, 4] += 6 * np.linalg.svd(mix[4])[0][:, -1]  # along the axis in which good images hardly differ
    return np.asarray(found.reshape(count, 3, 3, 4), np.float32)


def sum_up(features: Features) -> FeatureSums:
    return FeatureSums.of(features, np.zeros(len(features), np.int64), NAMES, SumsOrigin(backbone="a"))


def names(count: int) -> list[str]:
    return [str(number) for number in range(count)]


def test_scores_are_mahalanobis_distances_at_each_position_and_sums_of_parts_give_the_same():
    good, other = draw(500, 2), draw(5, 3, unusual=True)
    whole = sum_up(good)
    parts = sum_up(good[:150]).merge(sum_up(good[150:])).merge(sum_up(other)).subtract(sum_up(other))
    scores = fit_scorer(GAUSSIAN, whole, good).score(other)
    np.testing.assert_allclose(fit_scorer(GAUSSIAN, parts, good).score(other), scores, rtol=1e-6)
    rows = good.reshape(500, 9, 4)[:, 4].astype(np.float64)
    covariance = np.cov(rows.T, bias=True)
    spread = 0.1 * np.mean([np.cov(good.reshape(500, 9, 4)[:, at].T, bias=True).trace() / 4 for at in range(9)])
    apart = other.reshape(5, 9, 4)[:, 4] - rows.mean(axis=0)
    wanted = np.sqrt(np.einsum("nd,de,ne->n", apart, np.linalg.inv(covariance + spread * np.eye(4)), apart))
    np.testing.assert_allclose(scores[:, 4], wanted, rtol=1e-5)


def test_correlations_show_what_single_features_hide_and_patches_know_no_position():
    good, fresh, unusual = draw(300, 4), draw(200, 5), draw(200, 6, unusual=True)
    found = {}
    for method in (GAUSSIAN, DIAGONAL, PATCHES):
        scorer = fit_scorer(method, sum_up(good), good, patches=200)
        plain, high = (scorer.score(images).max(axis=1) for images in (fresh, unusual))
        found[method] = rank(plain, high, names(200), names(200)).auroc
    assert found[GAUSSIAN] > 0.95
    assert found[GAUSSIAN] > found[DIAGONAL] + 0.02
    moved = np.roll(good, 1, axis=2)
    scorer = fit_scorer(PATCHES, sum_up(good), good, patches=2700)
    np.testing.assert_allclose(scorer.score(moved), np.roll(scorer.score(good).reshape(-1, 3, 3), 1, 2).reshape(-1, 9))


def test_each_image_is_scored_by_a_fit_that_has_not_seen_its_group():
    good = draw(40, 7)
    folds, groups = np.arange(40) % 4, [str(row % 4) for row in range(40)]
    crossed = cross_score(GAUSSIAN, good, draw(40, 8, unusual=True), folds, groups, sum_up(good))
    alone = fit_scorer(GAUSSIAN, sum_up(good[folds != 1]), good).score(good[folds == 1]).max(axis=1)
    np.testing.assert_allclose(crossed.good[folds == 1], alone, rtol=1e-6)
    assert choose_method([crossed]) is crossed


@pytest.mark.parametrize("count", [59, 99, 300])
def test_the_promised_share_of_false_alarms_holds_in_950_of_1000_draws(count: int):
    rng, kept = np.random.default_rng(count), 0
    for _ in range(1000):
        rule = set_threshold(
            rng.exponential(size=count), names(count), false_alarms=0.05, unseen=True, good="ok", method=GAUSSIAN
        )
        assert 0 < rule.false_alarms <= 0.05
        kept += float(np.exp(-rule.threshold)) <= rule.false_alarms
    assert kept >= 930


def test_too_few_or_seen_groups_promise_nothing_and_a_group_counts_once():
    for share, enough in ((0.05, 59), (0.02, 149), (0.01, 299), (0.001, 2995)):
        assert bound_alarms(0, enough) <= share < bound_alarms(0, enough - 1)
    scores = np.arange(1.0, 101.0)

    def decide(groups: list[str], *, unseen: bool = True) -> tuple[float, float]:
        rule = set_threshold(scores, groups, false_alarms=0.05, unseen=unseen, good="ok", method=GAUSSIAN)
        return rule.false_alarms, rule.threshold

    assert decide(names(100))[0] > 0
    assert decide(names(100), unseen=False)[0] == 0
    assert decide([str(number // 2) for number in range(100)])[0] == 0, "50 groups"
    assert decide(names(100), unseen=False)[1] == pytest.approx(96, abs=1)
    assert decide(["a"] * 100)[1] == pytest.approx(100, rel=0.01)


def test_the_interval_of_auroc_counts_groups_and_is_never_empty():
    good, defective = np.arange(10.0), np.arange(20.0, 30)
    sure = rank(good, defective, names(10), names(10))
    assert sure.auroc == 1
    assert sure.interval_95[0] < 0.75
    rng = np.random.default_rng(0)
    scores, others = rng.normal(size=400), rng.normal(size=400) + 1
    single = rank(scores, others, names(400), names(400)).interval_95
    shots = rank(scores, others, [str(row // 20) for row in range(400)], [str(row // 20) for row in range(400)])
    assert single[0] < 0.76 < single[1]
    assert shots.interval_95[1] - shots.interval_95[0] > 0.9 * (single[1] - single[0])


@pytest.mark.parametrize("method", [GAUSSIAN, DIAGONAL, PATCHES])
def test_the_network_gives_the_scores_of_the_method_and_is_above_the_threshold_where_it_is(method: str):
    image = keras.Input((12, 12, 3))
    pooled = keras.layers.AveragePooling2D(4)(image)
    extractor = keras.Model(image, keras.layers.Concatenate()([pooled, pooled * pooled]), name="backbone")
    pixels = np.random.default_rng(9).integers(0, 256, (60, 12, 12, 3), np.uint8)
    settings = TrainSettings(task=ANOMALY)
    features = compile_network(extractor)(settings.own_scale.apply(pixels))
    scorer = fit_scorer(method, sum_up(features[:50]), features[:50], patches=40)
    maps = scorer.score(features)
    scores = maps.max(axis=1)
    rule = set_threshold(scores[50:], names(10), false_alarms=0.3, unseen=False, good="ok", method=method)
    fitted = FittedAnomaly(scorer=scorer, rule=rule)
    outputs = build_anomaly_model(settings, extractor, fitted).predict(pixels, verbose=0)
    np.testing.assert_allclose(outputs["map"].reshape(60, 9), maps, rtol=2e-3, atol=5e-3)
    np.testing.assert_array_equal(outputs["logits"].argmax(axis=1), scores > rule.threshold)
    np.testing.assert_allclose(outputs["logits"], fitted.logits(scores), atol=0.02)
    assert 0 < (scores > rule.threshold).sum() < 60
