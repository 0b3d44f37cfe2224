"""Settings of publishing: the section `pipeline` of eaves.yaml."""

from __future__ import annotations

from dataclasses import dataclass

from eaves.config import setting

NEVER = 100.0
"""Value of `max_accuracy_drop` that disables the comparison, because no model can lose more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineSettings:
    """Settings that say when a pipeline publishes its model."""

    floor: float = setting(
        0.0,
        "Accuracy that a model must have to be published, 0 to 1: the lower end of its 95 % confidence interval on "
        "held-out images must reach it. In any case the lower end must exceed what always answering the most frequent "
        "class gets.",
        minimum=0,
        maximum=1,
    )
    max_accuracy_drop: float = setting(
        5.0,
        "Points of accuracy (of 100) that a model may lose against the one that it replaces; the upper bound of its "
        "loss on the same held-out images, with 95 % confidence, must be within. 5 points take about 200 images where "
        "two models that are equally good differ on 6 % of answers, and 59 where they never differ; 100: not compared.",
        minimum=0,
        maximum=100,
    )
