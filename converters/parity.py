"""The proof: what TensorFlow answered against what the serving session answers, from the same encoded bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from converters.oracle import Truth
from eaves.artifact import Parity
from eaves.artifact.golden import tensor_digest
from eaves.errors import ParityError
from eaves.recipe import Recipe

if TYPE_CHECKING:
    from functions.session import Session

Floats = npt.NDArray[np.float32]


def prove(session: Session, recipe: Recipe, images: Sequence[Path], truth: Truth, *, tolerance: float) -> Parity:
    """Compare on every image.

    Args:
        session: The session that serves.
        recipe: Bytes to tensor.
        images: Encoded images.
        truth: TensorFlow's answers to them.
        tolerance: Largest absolute difference of a logit, and of a probability.

    Raises:
        ParityError: When tensors differ, or logits or probabilities by more than the tolerance, or a label; or when
            there are no images.
    """
    if not images:
        raise ParityError("there are no images to prove parity on", hint="train with more images held out")
    logits, probabilities = _answers(session, recipe, images, truth)
    if logits.shape != truth.logits.shape:
        raise ParityError(
            f"the converted model differs from the trained one: {logits.shape[1]} outputs, not {truth.logits.shape[1]}"
        )
    scale = np.maximum(np.max(np.abs(truth.logits), axis=1, keepdims=True), 1e-6)
    agreement = float(np.mean(np.argmax(logits, axis=1) == np.argmax(truth.logits, axis=1)))
    worst, worst_probability = _worst(logits, truth.logits), _worst(probabilities, truth.probabilities)
    if max(worst, worst_probability) > tolerance or agreement < 1.0:
        raise ParityError(
            f"the converted model differs from the trained one: logits by up to {worst:.2e}, probabilities by up to "
            f"{worst_probability:.2e} (allowed {tolerance:.0e}), the same label on {agreement:.1%} of {len(images)} "
            "images",
            hint="convert with another convert.opset, or report the architecture",
        )
    return Parity(
        images=len(images),
        max_abs_error=worst,
        max_abs_error_probabilities=worst_probability,
        max_rel_error=float(np.max(np.abs(logits - truth.logits) / scale)),
        top1_agreement=agreement,
        tolerance=tolerance,
        passed=True,
    )


def _answers(session: Session, recipe: Recipe, images: Sequence[Path], truth: Truth) -> tuple[Floats, Floats]:
    """The session's logits and probabilities, once each input tensor is known to be TensorFlow's."""
    answers = []
    for path, expected in zip(images, truth.tensor_sha256, strict=True):
        tensor = recipe.tensor(path.read_bytes())
        if tensor_digest(tensor) != expected:
            raise ParityError(f"{path.name}: training and serving make different input tensors of the same image")
        logits, probabilities = session.run(tensor[np.newaxis])
        answers.append((logits[0], probabilities[0]))
    return np.asarray([logits for logits, _ in answers]), np.asarray([probabilities for _, probabilities in answers])


def _worst(found: Floats, expected: Floats) -> float:
    difference = np.abs(found - expected)
    return float(np.max(difference)) if np.all(np.isfinite(difference)) else float("inf")
