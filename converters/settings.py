"""Defines the settings of a conversion and of publishing: the sections `convert` and `pipeline` of eaves.yaml."""

from __future__ import annotations

from dataclasses import dataclass

from eaves.artifact.manifest import CLASSIFY, EMBED
from eaves.config import setting

OPSET = 17
"""Operator set of the graph: the newest that tf2onnx's own tests cover on every layer of the registered architectures
(it writes up to 18), and that onnxruntime reads from 1.12 on, so that an old runtime on an edge node can open the file.
It is raised only deliberately."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertSettings:
    """Settings of the conversion of a run, or of a foreign model, into an artifact."""

    task: str = setting(
        "",
        "Task of the artifact. `classify`: predicts classes; `embed`: returns the features that are the input of "
        "the head, fp32 only; empty: the task of the declaration, else `classify`.",
        choices=("", CLASSIFY, EMBED),
    )
    handler: str = setting(
        "",
        "Path of a handler.py that is copied into the artifact and replaces pre- or post-processing; see "
        "docs/function.md. The conversion runs it.",
    )
    precision: str = setting(
        "auto",
        "Number format of the weights. `auto`: int8 if the evidence shows that it is as good, else fp32; `int8`: "
        "int8 in any case, with the evidence stored in the artifact; `fp32`: int8 is not tried.",
        choices=("auto", "fp32", "int8"),
    )
    max_accuracy_drop: float = setting(
        3.0,
        "Points of accuracy (of 100) that int8 may lose: the upper bound of its loss on held-out images, with 95 "
        "% confidence, must not exceed it. 3 points take about 250 images if int8 and fp32 differ on 2 % of "
        "answers, 1 point takes 1,600. A single class may lose twice as much.",
        minimum=0,
        maximum=100,
    )
    min_agreement: float = setting(
        0.95,
        "Share of images on which int8 must predict the same label as fp32, if there are too few labelled images "
        "to measure accuracy: the lower bound of the share, with 95 % confidence, on at least 500 images with or "
        "without labels. Of four int8 graphs of Inception V3 on 150 photos of flowers, three agreed on 95 to 98 "
        "% and lost 0.7 to 2 points, one agreed on 93 % and lost 2.7.",
        minimum=0,
        maximum=1,
    )
    unlabelled: str = setting(
        "",
        "Folder of photos without labels, subfolders included, on which int8 is compared with fp32 if there are "
        "too few labelled images; photos that were trained on, and copies, are left out.",
    )
    data: str = setting(
        "",
        "Labelled images that int8 is calibrated and judged on, in a form that `data.path` accepts; empty: the "
        "images that the run was trained on, or the samples of the declaration.",
    )
    calibration_images: int = setting(
        100,
        "Number of training images that the value ranges of int8 are measured on; more images take longer "
        "and change little.",
        minimum=1,
    )
    previous: str = setting(
        "",
        "Earlier artifact to build on: its golden images are used again if they still fit, and its int8 backbone "
        "if the backbone is the same, so that an update ships only a head; empty: the artifacts beside the new "
        "one.",
    )
    opset: int = setting(
        OPSET,
        "Version of the ONNX operator set that a TensorFlow model is exported to; see docs/model.md.",
        minimum=13,
        maximum=18,
    )
    tolerance: float = setting(
        1e-3,
        "Maximum difference of a logit or a probability between the trained model and the fp32 graph; 1e-5 is usual.",
        minimum=0,
        maximum=1,
    )
    tolerance_int8: float = setting(
        0.3, "Maximum difference of a probability between the trained model and the int8 graph.", minimum=0, maximum=1
    )
    agreement_int8: float = setting(
        0.85, "Minimum share of the samples on which int8 must predict the trained model's label.", minimum=0, maximum=1
    )
    golden: int = setting(
        10,
        "Maximum number of golden images that are stored with the model, one for each class.",
        minimum=1,
        maximum=100,
    )
    licence: str = setting("", "SPDX expression of the model's licence, stored in the manifest.")
    timeout_s: float = setting(
        900.0, "Seconds after which a child process of the conversion is stopped.", minimum=10, maximum=86400
    )


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
