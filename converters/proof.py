"""Proves that the original and the artifact give the same outputs for the same encoded bytes.

The original runs in a child process, `converters.reference_process`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from converters.child_process import run_child
from eaves.artifact import DecisionRule, Parity
from eaves.artifact.golden import tensor_digest
from eaves.artifact.manifest import FEATURES
from eaves.errors import ConversionError, ParityError
from eaves.recipe import Recipe, Tensor

if TYPE_CHECKING:
    from converters.declaration import Interface
    from converters.model_source import ModelSource
    from eaves.inference.session import Session


Floats = npt.NDArray[np.float32]
SMALLEST = 1e-12
"""Lower bound of probabilities before their logarithm is taken."""
SUM_TOLERANCE = 1e-3
"""Largest difference from 1 of the sum of an image's probabilities; half precision stays below it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceOutputs:
    """Outputs of the original model, or of the session that is compared with it, for images.

    Attributes:
        logits: (N, labels) float32.
        probabilities: (N, labels) float32.
        tensor_sha256: Digest of each input tensor.
        features: (N, any) float32; None if the model gives none.
        tensors: Inputs that a handler made, (N, ...); None if the recipe made them.
    """

    logits: npt.NDArray[np.float32]
    probabilities: npt.NDArray[np.float32]
    features: npt.NDArray[np.float32] | None = None
    tensors: npt.NDArray[Any] | None = None
    tensor_sha256: tuple[str, ...]


def run_reference(source: ModelSource, images: Sequence[Path], *, timeout_s: float) -> ReferenceOutputs:
    """Run the original model on encoded images in a child process, and return its outputs.

    The softmax and the logarithm that the conversion adds to the graph are computed here with NumPy.

    Raises:
        ConversionError: The original fails or takes too long, or its outputs are not as declared.
    """
    digests, tensors, answers = run_original(source.job(), images, timeout_s)
    interface = source.interface
    pairs = [read_outputs(answer, interface) for answer in answers]
    logits, probabilities = (np.asarray([pair[index] for pair in pairs], np.float32) for index in (0, 1))
    if source.route != "run" and answers:
        check_declared(logits, probabilities, interface, answers[0])
    features = [answer[interface.features][0].ravel() for answer in answers] if interface.features else None
    return ReferenceOutputs(
        logits=logits,
        probabilities=probabilities,
        features=None if features is None else np.asarray(features, np.float32),
        tensors=np.asarray(tensors) if tensors else None,
        tensor_sha256=digests,
    )


def run_original(
    job: Mapping[str, Any], samples: Sequence[Path], timeout_s: float
) -> tuple[tuple[str, ...], list[Tensor], list[dict[str, Tensor]]]:
    """Run an original model on files of samples in a child process.

    Args:
        job: Result of `ModelSource.job`; for the task `tensor` with `input`, the signature of the model's input.
        samples: The files.
        timeout_s: Maximum run time in seconds.

    Returns:
        digests: Digest of each input tensor.
        tensors: Input tensor of each sample without the batch axis; empty if the recipe makes it.
        answers: Outputs for each sample by name, of a batch of one.

    Raises:
        ConversionError: The original fails or takes too long.
    """
    name = "onnxruntime" if job["route"] == "onnx" else "TensorFlow"
    with TemporaryDirectory() as folder:
        output = Path(folder) / "truth.npz"
        run_child(
            "converters.reference_process",
            {**job, "samples": [str(path.absolute()) for path in samples], "output": str(output)},
            what=f"the original model {name}, which answers the samples of the parity proof,",
            timeout_s=timeout_s,
        )
        with np.load(output, allow_pickle=False) as found:
            stored = dict(found)
    answers: list[dict[str, Tensor]] = [{} for _ in samples]
    for key, value in stored.items():
        number, _, output_name = key.partition("/")
        if output_name:
            answers[int(number)][output_name] = value
    tensors = [stored[str(number)] for number in range(len(samples)) if str(number) in stored]
    return tuple(stored["tensor_sha256"].tolist()), tensors, answers


def read_outputs(answer: Mapping[str, Tensor], interface: Interface) -> tuple[Floats, Floats]:
    """Return the logits and probabilities of a batch of one, each (labels,) float32.

    A single probability is that of the second of two labels.
    """
    logits_name, probabilities_name = interface.pick_outputs(answer)
    probabilities = None
    if probabilities_name is not None:
        probabilities = answer[probabilities_name][0].astype(np.float32)
        if len(probabilities) == 1:
            probabilities = np.concatenate([np.float32(1) - probabilities, probabilities])
    if logits_name is None:
        probabilities = np.asarray(probabilities)
        return np.log(np.clip(probabilities, np.float32(SMALLEST), None)), probabilities
    logits = answer[logits_name][0].astype(np.float32)
    if probabilities is not None:
        return logits, probabilities
    powers = np.exp(logits.astype(np.float64) - np.max(logits))
    return logits, (powers / np.sum(powers)).astype(np.float32)


def check_declared(logits: Floats, probabilities: Floats, interface: Interface, names: Collection[str]) -> None:
    """Check that the outputs for the samples look like what they are declared as.

    Args:
        logits: (N, labels); those of the model, if it has any.
        probabilities: (N, labels); those of the model, if it has any.
        interface: Input and outputs of the model.
        names: Names of the model's outputs.

    Raises:
        ConversionError: Probabilities don't sum to 1, or logits do; the hint names the line of the declaration.
    """
    logits_name, probabilities_name = interface.pick_outputs(names)
    if probabilities_name is not None:
        sums, low, high = probabilities.sum(axis=1), np.min(probabilities), np.max(probabilities)
        if low < -SUM_TOLERANCE or high > 1 + SUM_TOLERANCE:
            raise ConversionError(
                f"the output {probabilities_name} is declared as probabilities, but on the samples its numbers lie "
                f"between {low:.3g} and {high:.3g}",
                hint=f"declare `logits: {probabilities_name}` instead of `probabilities: {probabilities_name}` if they "
                "are logits",
            )
        if np.any(np.abs(sums - 1) > SUM_TOLERANCE):
            raise ConversionError(
                f"the output {probabilities_name} is declared as probabilities, but on the samples its numbers sum to "
                f"{np.min(sums):.3f} to {np.max(sums):.3f} and not to 1: several labels may hold for one image, as "
                "with a sigmoid for each label, and Eaves predicts one label",
                hint="end the model in a softmax and train it with one label for each image; if the numbers are "
                f"logits, declare `logits: {probabilities_name}` instead of `probabilities: {probabilities_name}`",
            )
    if logits_name is not None and np.min(logits) >= 0 and np.all(np.abs(logits.sum(axis=1) - 1) <= SUM_TOLERANCE):
        raise ConversionError(
            f"the output {logits_name} is declared as logits, but on all {len(logits)} samples its numbers are at "
            "least 0 and sum to 1, so they are probabilities",
            hint=f"declare `probabilities: {logits_name}` instead of `logits: {logits_name}`",
        )


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


def run_session(session: Session, recipe: Recipe, images: Sequence[Path], truth: ReferenceOutputs) -> ReferenceOutputs:
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
    return replace(
        truth,
        logits=np.asarray([one["logits"] for one in answers]),
        probabilities=np.asarray([one["probabilities"] for one in answers]),
        features=np.asarray([one[FEATURES] for one in answers]) if FEATURES in answers[0] else None,
    )


def compare(
    answers: ReferenceOutputs, truth: ReferenceOutputs, demand: ParityTolerance, decision: DecisionRule
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


def _prove_decision(answers: ReferenceOutputs, decision: DecisionRule, temperature: float) -> None:
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
