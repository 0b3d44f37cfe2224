"""The proof: what TensorFlow answered against what the serving session answers, from the same encoded bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from converters.oracle import Truth
from eaves.artifact import Parity
from eaves.artifact.golden import tensor_digest
from eaves.errors import ParityError
from eaves.recipe import Recipe

if TYPE_CHECKING:
    from functions.session import Session


def prove(session: Session, recipe: Recipe, images: Sequence[Path], truth: Truth, *, tolerance: float) -> Parity:
    """Compare on every image.

    Args:
        session: The session that serves.
        recipe: Bytes to tensor.
        images: Encoded images.
        truth: TensorFlow's answers to them.
        tolerance: Largest absolute difference of a logit.

    Raises:
        ParityError: When tensors differ, or logits by more than the tolerance, or a label; or when there are no images.
    """
    if not images:
        raise ParityError("there are no images to prove parity on", hint="train with more images held out")
    answers = []
    for path, expected in zip(images, truth.tensor_sha256, strict=True):
        tensor = recipe.tensor(path.read_bytes())
        if tensor_digest(tensor) != expected:
            raise ParityError(f"{path.name}: training and serving make different input tensors of the same image")
        answers.append(session.logits(tensor[np.newaxis])[0])
    logits = np.asarray(answers)
    if logits.shape != truth.logits.shape:
        raise ParityError(
            f"the converted model differs from the trained one: {logits.shape[1]} outputs, not {truth.logits.shape[1]}"
        )
    difference = np.abs(logits - truth.logits)
    scale = np.maximum(np.max(np.abs(truth.logits), axis=1, keepdims=True), 1e-6)
    agreement = float(np.mean(np.argmax(logits, axis=1) == np.argmax(truth.logits, axis=1)))
    worst = float(np.max(difference)) if np.all(np.isfinite(difference)) else float("inf")
    if worst > tolerance or agreement < 1.0:
        raise ParityError(
            f"the converted model differs from the trained one: logits by up to {worst:.2e} (allowed {tolerance:.0e}), "
            f"the same label on {agreement:.1%} of {len(images)} images",
            hint="convert with another convert.opset, or report the architecture",
        )
    return Parity(
        images=len(images),
        max_abs_error=worst,
        max_rel_error=float(np.max(difference / scale)),
        top1_agreement=agreement,
        tolerance=tolerance,
        passed=True,
    )
