"""Proves that the original and the artifact give the same outputs for the same encoded bytes.

The original runs in a child process, `converters.reference_process`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from converters.child_process import run_child
from eaves.artifact import DecisionRule, Parity
from eaves.artifact.golden import tensor_digest
from eaves.artifact.manifest import FEATURES
from eaves.errors import ParityError
from eaves.recipe import Recipe, Tensor

if TYPE_CHECKING:
    from converters.model_source import ModelSource, TensorSource
    from eaves.artifact import TensorSpec
    from eaves.inference.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceOutputs:
    """Outputs of the original model.

    Attributes:
        logits: (N, labels) float32.
        probabilities: (N, labels) float32.
        tensor_sha256: Digest of each input tensor.
        features: (N, any) float32; None if the original gives none.
        tensors: Inputs that a handler made, (N, ...); None if the recipe made them.
    """

    logits: npt.NDArray[np.float32]
    probabilities: npt.NDArray[np.float32]
    features: npt.NDArray[np.float32] | None = None
    tensors: npt.NDArray[Any] | None = None
    tensor_sha256: tuple[str, ...]


def run_reference(source: ModelSource, images: Sequence[Path], *, timeout_s: float) -> ReferenceOutputs:
    """Run the original model on encoded images in a child process, and return its outputs.

    Raises:
        ConversionError: The original fails or takes too long.
    """
    stored = _run({**source.job(), "images": [str(path.absolute()) for path in images]}, timeout_s)
    return ReferenceOutputs(
        logits=stored["logits"],
        probabilities=stored["probabilities"],
        features=stored["features"] if len(stored["features"]) else None,
        tensors=stored["tensors"] if len(stored["tensors"]) else None,
        tensor_sha256=tuple(stored["tensor_sha256"].tolist()),
    )


def run_tensor_reference(
    source: TensorSource, taken: TensorSpec, given: Sequence[TensorSpec], timeout_s: float
) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """Run an original model that doesn't take images on its sample files in a child process.

    Args:
        source: The model to convert.
        taken: Input of the model.
        given: Outputs of the model.
        timeout_s: Maximum run time in seconds.

    Returns:
        inputs: Input tensor of each sample, without the batch axis.
        answers: Outputs for each sample by name, of a batch of one.

    Raises:
        ConversionError: The original fails or takes too long.
    """
    stored = _run(
        {
            "route": "onnx",
            "model": str(source.model.absolute()),
            "samples": [str(path.absolute()) for path in source.samples],
            "input": {"name": taken.name, "dtype": taken.dtype, "shape": taken.shape},
            "handler": str(source.handler.absolute()) if source.handler else None,
        },
        timeout_s,
    )
    numbers = range(len(source.samples))
    return [stored[f"{number}"] for number in numbers], [
        {spec.name: stored[f"{number}/{spec.name}"] for spec in given} for number in numbers
    ]


def _run(job: Mapping[str, Any], timeout_s: float) -> dict[str, Tensor]:
    """Run the child process and return the arrays that it writes."""
    name = "onnxruntime" if job["route"] == "onnx" else "TensorFlow"
    with TemporaryDirectory() as folder:
        output = Path(folder) / "truth.npz"
        run_child(
            "converters.reference_process",
            {**job, "output": str(output)},
            what=f"the original model {name}, which answers the samples of the parity proof,",
            timeout_s=timeout_s,
        )
        with np.load(output, allow_pickle=False) as stored:
            return dict(stored)


Floats = npt.NDArray[np.float32]
DECISION_TOLERANCE = 1e-3
"""Maximum difference of a weighed probability, from 0 to 1, from the one that the logits give; the graph computes both
in float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityTolerance:
    """Differences from the original that a precision may have.

    Attributes:
        probabilities: Largest absolute difference of a probability.
        logits: Largest absolute difference of a logit; None means any, because int8 is assessed by its probabilities.
        agreement: Smallest share of images with the same label.
    """

    probabilities: float
    logits: float | None = None
    agreement: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOutputs:
    """Outputs of a session for images.

    Attributes:
        logits: (N, labels) float32.
        probabilities: (N, labels) float32.
        features: (N, any) float32; None if the graph gives none.
    """

    logits: Floats
    probabilities: Floats
    features: Floats | None = None


def run_session(session: Session, recipe: Recipe, images: Sequence[Path], truth: ReferenceOutputs) -> SessionOutputs:
    """Run a session on the images that the original was run on.

    Raises:
        ParityError: There are no images, or an input tensor differs from the original's.
    """
    if not images:
        raise ParityError(
            "there are no images to prove on that the converted model gives the same answers",
            hint="train with more held-out images (train.val_fraction)",
        )
    answers = []
    for number, (path, expected) in enumerate(zip(images, truth.tensor_sha256, strict=True)):
        tensor = recipe.tensor(path.read_bytes()) if truth.tensors is None else truth.tensors[number]
        if tensor_digest(tensor) != expected:
            raise ParityError(f"{path.name}: training and serving make different input tensors of the same image")
        answers.append({name: output[0] for name, output in session.answer(tensor[np.newaxis]).items()})
    return SessionOutputs(
        logits=np.asarray([one["logits"] for one in answers]),
        probabilities=np.asarray([one["probabilities"] for one in answers]),
        features=np.asarray([one[FEATURES] for one in answers]) if FEATURES in answers[0] else None,
    )


def compare(
    answers: SessionOutputs, truth: ReferenceOutputs, demand: ParityTolerance, decision: DecisionRule
) -> Parity:
    """Compare a session's outputs with the original's.

    Args:
        answers: Outputs of the session.
        truth: Outputs of the original, whose label is the one with the largest logit.
        demand: Differences that are allowed.
        decision: Rule that chooses the label from the session's probabilities.

    Returns:
        parity: Differences and the verdict.

    Raises:
        ParityError: The numbers of outputs differ.
    """
    logits = answers.logits
    if logits.shape != truth.logits.shape:
        raise ParityError(
            f"the converted model differs from the trained one: it has {logits.shape[1]} outputs instead of "
            f"{truth.logits.shape[1]}"
        )
    scale = np.maximum(np.max(np.abs(truth.logits), axis=1, keepdims=True), 1e-6)
    agreement = float(np.mean(decision.choose(answers.probabilities) == np.argmax(truth.logits, axis=1)))
    worst, worst_probability = _worst(logits, truth.logits), _worst(answers.probabilities, truth.probabilities)
    close = worst_probability <= demand.probabilities and worst <= (np.inf if demand.logits is None else demand.logits)
    return Parity(
        images=len(logits),
        max_abs_error=worst,
        max_abs_error_probabilities=worst_probability,
        max_rel_error=_worst(logits / scale, truth.logits / scale),
        top1_agreement=agreement,
        tolerance=demand.probabilities if demand.logits is None else demand.logits,
        min_agreement=demand.agreement,
        passed=bool(close and np.isfinite(worst) and agreement >= demand.agreement),
    )


def prove_parity(
    session: Session,
    recipe: Recipe,
    images: Sequence[Path],
    truth: ReferenceOutputs,
    demand: ParityTolerance,
    *,
    decision: DecisionRule | None = None,
    temperature: float = 1.0,
) -> Parity:
    """Prove parity on every image.

    Args:
        session: Session that serves the graph.
        recipe: Recipe that turns an image's bytes into a tensor.
        images: Encoded images.
        truth: Outputs of the original for these images.
        demand: Differences that are allowed.
        decision: Rule that chooses the label from the probabilities of a run's model; None for another tool's model,
            whose label has the highest probability.
        temperature: Divisor of the logits of a run's model.

    Raises:
        ParityError: The input tensors differ, a difference is too large, the rule does not choose the label with the
            largest logit, or there are no images.
    """
    answers = run_session(session, recipe, images, truth)
    if truth.features is not None and answers.features is not None:
        _prove_features(answers.features, truth.features, demand.probabilities)
    parity = compare(answers, truth, demand, decision or DecisionRule())
    if not parity.passed:
        raise ParityError(
            f"the converted model differs from the trained one: logits by up to {parity.max_abs_error:.2e}, "
            f"probabilities by up to {parity.max_abs_error_probabilities:.2e} (allowed {parity.tolerance:.0e}), the "
            f"same label on {parity.top1_agreement:.1%} of {parity.images} images",
            hint="set another convert.opset, or report the architecture to the developers of Eaves",
        )
    if decision is not None:
        _prove_decision(answers, decision, temperature)
    return parity


def _prove_features(found: Floats, expected: Floats, tolerance: float) -> None:
    """Check that features differ from the original's by at most `tolerance` of each image's largest feature."""
    scale = np.maximum(np.max(np.abs(expected), axis=1, keepdims=True), 1.0)
    worst = _worst(found / scale, expected / scale) if found.shape == expected.shape else float("inf")
    if worst > tolerance:
        raise ParityError(
            "the converted model's features differ from those of the original model by up to "
            f"{worst:.2e} of the largest value"
        )


def _prove_decision(answers: SessionOutputs, decision: DecisionRule, temperature: float) -> None:
    """Check that the rule undoes the correction of the scores: weighed probabilities are softmax(logits / temperature).

    Labels alone would prove little, because few images are so near to a boundary that a wrong rule changes their label.
    """
    weighed, logits = decision.weigh(answers.probabilities.astype(np.float64)), answers.logits.astype(np.float64)
    trained = np.exp((logits - logits.max(axis=1, keepdims=True)) / temperature)
    found, expected = (values / values.sum(axis=1, keepdims=True) for values in (weighed, trained))
    worst = _worst(found, expected)
    if worst > DECISION_TOLERANCE:
        raise ParityError(
            "the decision rule does not choose the labels of the trained model: its weighed probabilities differ from "
            f"those of the training by up to {worst:.2e}",
            hint="train the model again",
        )


def _worst(found: npt.NDArray[Any], expected: npt.NDArray[Any]) -> float:
    difference = np.abs(found - expected)
    return float(np.max(difference)) if np.all(np.isfinite(difference)) else float("inf")
