"""The gate's two errors, exactly: a graph that loses the allowed drop ships, and a harmless one is refused."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from bench.model.int8_gate import (
    DISCORDANCES,
    DROPS,
    IMAGES,
    RUNS,
    build_table,
    passing,
    probability,
    ships_of_many,
    whole,
)
from converters.int8.evidence import NO_LABEL, AllowedLoss, assess_candidate, classes_that_lost, count_missing
from eaves.base.statistics import images_needed
from trainer.evaluation.grouped_statistics import JudgedImages

ALLOWED = AllowedLoss(drop=0.03, agreement=0.95)
CLASS_DROP = ALLOWED.class_drop


@pytest.mark.parametrize("drop", DROPS)
@pytest.mark.parametrize("discordance", DISCORDANCES)
@pytest.mark.parametrize("n", [150, 500])
def test_a_graph_that_loses_the_allowed_drop_ships_in_under_5_percent(n: int, discordance: float, drop: float) -> None:
    assert probability(n, drop, discordance / 2 + drop, discordance / 2) < 0.05


@pytest.mark.parametrize("discordance", DISCORDANCES)
def test_a_harmless_graph_is_refused_in_under_20_percent_on_as_many_images_as_are_asked_for(discordance: float) -> None:
    n = images_needed(discordance, 0.03)
    assert 1 - probability(n, 0.03, discordance / 2, discordance / 2) < 0.2


def test_the_same_after_a_first_try_that_reported_how_many_are_missing() -> None:
    """The reported number rests on the results of 150 images, which vary by chance."""
    random, passed, runs = np.random.default_rng(0), 0, 300
    for _ in range(runs):
        lost, gained, _ = random.multinomial(150, (0.01, 0.01, 0.98))
        if gained < len(passing(150, 0.03)) and lost <= passing(150, 0.03)[gained]:
            passed += 1
            continue
        missing = min(count_missing(int(lost), int(gained), 150, 0.03), 850) // 50 * 50 + 50
        more_lost, more_gained, _ = random.multinomial(missing, (0.01, 0.01, 0.98))
        limits, gained = passing(150 + missing, 0.03), gained + more_gained
        passed += gained < len(limits) and lost + more_lost <= limits[gained]
    assert passed / runs > 0.8


def test_picking_on_other_images_keeps_the_error_and_judging_every_candidate_does_not() -> None:
    assert ships_of_many(150, 0.03, 0.02, runs=20_000) < 0.05
    assert ships_of_many(150, 0.03, 0.02, runs=20_000, on_judged=True) > 0.12


def test_the_table_is_of_the_gate_itself() -> None:
    """`passing` says of an outcome what `weigh` does."""
    for gained, most in list(enumerate(passing(150, 0.03)))[:4]:
        for lost in (most, most + 1):
            truth = np.arange(150) % 3
            fp32, int8 = truth.copy(), truth.copy()
            int8[:lost] += 1
            fp32[lost : lost + gained] += 1
            found = assess_candidate(truth, fp32, int8, ("a", "b", "c", "d"), ALLOWED)
            assert found.passed == (lost <= most)


def simulate(n: int, drop: float, lost_share: float, gained_share: float, *, photos: int = 0, runs: int = 600) -> float:
    """Share of conversions that ship a graph, by `weigh` itself: labels first, then with the photos."""
    random, allowed, passed = np.random.default_rng(0), AllowedLoss(drop=drop, agreement=0.95), 0

    @cache
    def passes(lost: int, gained: int, more: int, different: int) -> bool:
        truth = np.arange(n + more) % 5
        fp32, int8 = truth.copy(), truth.copy()
        int8[:lost] += 1
        fp32[lost : lost + gained] += 1
        int8[n : n + different] += 1
        known = np.where(np.arange(n + more) < n, truth, NO_LABEL)
        return assess_candidate(known, fp32 % 5, int8 % 5, ("a", "b", "c", "d", "e"), allowed).passed

    for _ in range(runs):
        lost, gained, _ = random.multinomial(n, (lost_share, gained_share, 1 - lost_share - gained_share))
        different = random.binomial(photos, lost_share + gained_share)
        passed += passes(lost, gained, 0, 0) or (photos > 0 and passes(lost, gained, photos, different))
    return passed / runs


@pytest.mark.parametrize("photos", [0, 1000])
def test_the_whole_gate_ships_a_bad_graph_in_under_5_percent_where_labels_suffice(photos: int) -> None:
    """500 images decide about 3 points; agreement passes most graphs that differ on 3 % of answers."""
    assert simulate(500, 0.03, 0.032, 0.0, photos=photos, runs=200 if photos else 600) < 0.05


@pytest.mark.parametrize(
    ("n", "discordance", "photos"), [(500, 0.02, 0), pytest.param(300, 0.04, 500, marks=pytest.mark.slow)]
)
def test_the_second_table_is_of_the_whole_gate(n: int, discordance: float, photos: int) -> None:
    """At 1 point, 500 images don't suffice: agreement ships graphs that lose what is allowed, and the page says so."""
    lost, gained = discordance / 2 + 0.01, discordance / 2
    assert whole(n, 0.01, lost, gained, photos=photos) == pytest.approx(
        simulate(n, 0.01, lost, gained, photos=photos), abs=0.04
    )


def test_without_agreement_the_whole_gate_is_that_by_labels() -> None:
    for n, drop in ((150, 0.03), (1250, 0.03)):
        assert whole(n, drop, 0.05, 0.02) == pytest.approx(probability(n, drop, 0.05, 0.02), abs=1e-9)


def refused_for_a_class(sizes: tuple[int, ...], lost: tuple[float, ...], gained: float, *, runs: int = 400) -> float:
    """Share of judgements in which some class is beyond its bound."""
    random, refused = np.random.default_rng(0), 0
    truth, shares = np.repeat(np.arange(len(sizes)), sizes), np.repeat(lost, sizes)
    judged = JudgedImages.of_names(range(len(truth)), truth)
    for _ in range(runs):
        drawn = random.random(len(truth))
        refused += bool(classes_that_lost(judged, drawn <= 1 - gained, drawn >= shares, len(sizes), CLASS_DROP))
    return refused / runs


def test_a_class_rule_refuses_few_harmless_graphs_and_most_that_ruin_a_class() -> None:
    few = (30, 30, 30, 30, 30)
    assert refused_for_a_class(few, (0.01,) * 5, 0.01) < 0.01
    assert refused_for_a_class(few, (0.04,) * 5, 0.04) < 0.01
    assert refused_for_a_class((5,) * 20 + (400,), (0.02,) * 21, 0.02) < 0.01
    assert refused_for_a_class((200, 200, 30), (0.01, 0.01, CLASS_DROP + 0.01), 0.01) < 0.05
    assert refused_for_a_class((200, 200, 30), (0.01, 0.01, 0.3), 0.01) > 0.8
    assert refused_for_a_class((495, 5), (0.0, 1.0), 0.0) == 1.0


@pytest.mark.slow
def test_the_whole_table() -> None:
    rows = build_table(runs=RUNS)
    assert {row.n for row in rows} >= set(IMAGES)
    for row in rows:
        assert row.harmful_ships < 0.05, row
        assert row.harmful_ships_of_7 < 0.052, row  # known to 0.1 points
        if row.n >= images_needed(row.discordance, row.drop):
            assert row.harmless_refused < 0.2, row
