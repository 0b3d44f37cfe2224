"""Defines the settings of publishing: the section `pipeline` of eaves.yaml."""

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
        "Accuracy that a model needs to be published, 0 to 1 (mean recall, if classes weigh alike in training): the "
        "lower end of its 95 % confidence interval on held-out images must reach it. The lower end must also exceed "
        "the figure of always answering the most frequent class.",
        minimum=0,
        maximum=1,
    )
    class_floor: float = setting(
        0.5,
        "Recall that each class needs, 0 to 1: a model is not published if the held-out images show, with 95 % "
        "confidence, that fewer images of a class are right; 0: no floor.",
        minimum=0,
        maximum=1,
    )
    max_accuracy_drop: float = setting(
        5.0,
        "Points of accuracy or mean recall (of 100) that a model may lose compared with the model published last, with "
        "the best one so far, and with the one that serves after a rollback: the upper bound of its loss on the same "
        "held-out images, with 95 % confidence, must not exceed it. 5 points take about 200 images if two equally good "
        "models differ on 6 % of answers, and 59 if they never differ; 100: the model is not compared, and becomes the "
        "best one so far.",
        minimum=0,
        maximum=100,
    )
