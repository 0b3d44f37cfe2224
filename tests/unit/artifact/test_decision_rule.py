"""The decision rule: the label is the class with the largest product of score and weight."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from eaves.artifact import DecisionRule


def test_without_weights_the_highest_score_decides() -> None:
    scores = np.array([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2]])
    assert DecisionRule().choose(scores).tolist() == [1, 0]
    assert DecisionRule().rank(scores[0]).tolist() == [1, 2, 0]
    assert DecisionRule().rank(scores[1]).tolist() == [0, 1, 2], "the first of equal ones is first"


def test_weights_decide_with_the_scores() -> None:
    rule = DecisionRule(label_weights=(1.0, 0.025))
    assert rule.choose(np.array([[0.02, 0.98], [0.03, 0.97]])).tolist() == [1, 0]
    assert rule.rank(np.array([0.03, 0.97])).tolist() == [0, 1]


@given(st.lists(st.tuples(st.floats(1e-6, 1), st.floats(1e-3, 1)), min_size=1, max_size=8))
def test_the_first_of_the_ranking_is_the_label(pairs: list[tuple[float, float]]) -> None:
    scores, weights = (np.array(column) for column in zip(*pairs, strict=True))
    rule = DecisionRule(label_weights=tuple(weights.tolist()))
    order = rule.rank(scores.astype(np.float32))
    assert order[0] == rule.choose(scores.astype(np.float32))
    assert sorted(order) == list(range(len(pairs)))
