"""Settings of a conversion: the section `convert` of eaves.yaml."""

from __future__ import annotations

from dataclasses import dataclass

from eaves.artifact.manifest import CLASSIFY, EMBED
from eaves.artifact.targets import TARGETS
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
        "What the artifact does: `classify`; `embed`: answers with the features that the head sees too, fp32 only; "
        "empty: what a declaration says, else `classify`.",
        choices=("", CLASSIFY, EMBED),
    )
    handler: str = setting(
        "",
        "Path of a handler.py that goes into the artifact and replaces pre- or post-processing; see "
        "docs/04-function.md. The conversion runs it.",
    )
    precision: str = setting(
        "auto",
        "`auto`: int8 where the evidence suffices, else fp32; `int8`: int8 with its evidence, whatever that is: your "
        "own decision; `fp32`: don't try.",
        choices=("auto", "fp32", "int8"),
    )
    max_accuracy_drop: float = setting(
        3.0,
        "Points of accuracy (of 100) that int8 may lose; the upper bound of its loss on held-out images, with 95 % "
        "confidence, must be within. 3 points take about 250 images where the two differ on 2 % of answers, 1 point "
        "takes 1,600. A class may lose twice as much.",
        minimum=0,
        maximum=100,
    )
    min_agreement: float = setting(
        0.95,
        "Share of images on which int8 must name fp32's label where labels don't suffice: the lower bound of it, with "
        "95 % confidence, on at least 500 images with or without labels. Of four int8 graphs of Inception V3 on 150 "
        "photos of flowers, three agreed on 95 to 98 % and lost 0.7 to 2 points, one agreed on 93 % and lost 2.7.",
        minimum=0,
        maximum=1,
    )
    unlabelled: str = setting(
        "",
        "Folder of photos without labels, its subfolders too, on which int8 is compared with fp32 where the labels "
        "don't suffice; photos that were trained on, and copies, are left out.",
    )
    int8_time_limit_s: float = setting(
        300.0,
        "Seconds after which no further int8 graph is made; the best so far is judged. Inception V3 on two cores takes "
        "80 for the first graph and up to 270 to measure which layers rounding hurts; with 300 a first model is "
        "trained, converted and deployed within ten minutes.",
        minimum=0,
    )
    data: str = setting(
        "",
        "Labelled images that int8 is fitted to and judged on, as `data.path`; empty: those that the run was trained "
        "on, or a declaration's samples.",
    )
    calibration_images: int = setting(
        100, "Training images that int8's ranges are measured on; more cost time and change little.", minimum=1
    )
    targets: tuple[str, ...] = setting(
        (),
        "CPUs that it will run on; none: any. When all of them have int8 dot products (the `vnni` ones and arm64), "
        "int8 weights get 8 bits instead of 7; an fp32 artifact gets a graph laid out for each that is like this one.",
        choices=tuple(TARGETS),
    )
    previous: str = setting(
        "",
        "Artifact to build on: its golden images are used again while they fit, and the int8 backbone while the "
        "backbone is the same, so that an update ships only a head; empty: those beside the new one.",
    )
    opset: int = setting(OPSET, "ONNX operator set of the graph; see docs/02-conversion.md.", minimum=13, maximum=18)
    tolerance: float = setting(
        1e-3,
        "Largest difference of a logit or a probability between training and fp32; 1e-5 is usual.",
        minimum=0,
        maximum=1,
    )
    tolerance_int8: float = setting(
        0.3, "Largest difference of a probability between training and int8.", minimum=0, maximum=1
    )
    agreement_int8: float = setting(
        0.85, "Smallest share of the samples on which int8 names training's label.", minimum=0, maximum=1
    )
    golden: int = setting(
        10, "Golden images that travel with the model: one a class, up to this many.", minimum=1, maximum=100
    )
    licence: str = setting("", "SPDX expression of the model's licence, for the manifest.")
    timeout_s: float = setting(900.0, "Seconds that a child process may take.", minimum=10, maximum=86400)
    memory_limit_mb: int = setting(
        0, "Resident memory a child process may reach, MB; 0 for any. Inception V3 takes about 1,000.", minimum=0
    )
