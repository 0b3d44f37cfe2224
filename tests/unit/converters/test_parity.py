"""The proof of parity, with a session that can be made to err."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest

from converters.proof import ParityTolerance, ReferenceOutputs, prove_parity
from eaves.artifact import DecisionRule
from eaves.artifact.golden import tensor_digest
from eaves.errors import ParityError
from eaves.inference.session import Session
from eaves.recipe import Recipe
from tests.fakes.models.artifact import COLOURS, ColourSession, encode_png
from trainer.evaluation.calibration import prior_correction, softmax

RECIPE = Recipe(height=8, width=8)
EQUAL, ANY = (ParityTolerance(probabilities=tolerance, logits=tolerance) for tolerance in (1e-3, 1.0))
Floats = npt.NDArray[np.float32]
Change = Callable[[Floats], Any]


class Erring(ColourSession):
    """Answers changed on the way out."""

    def __init__(self, logits: Change, probabilities: Change) -> None:
        self._logits, self._probabilities = logits, probabilities

    def run(self, batch: npt.NDArray[Any]) -> tuple[Floats, Floats]:
        logits, probabilities = super().run(batch)
        return self._logits(logits), self._probabilities(probabilities)


def same(values: Floats) -> Floats:
    return values


def session(logits: Change = same, *, probabilities: Change = same) -> Session:
    return cast(Session, Erring(logits, probabilities))


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{name}.png" for name in COLOURS]
    for path, colour in zip(paths, COLOURS.values(), strict=True):
        path.write_bytes(encode_png(colour))
    return paths


@pytest.fixture
def truth(images: list[Path]) -> ReferenceOutputs:
    tensors = [RECIPE.tensor(path.read_bytes()) for path in images]
    logits, probabilities = ColourSession().run(np.asarray(tensors))
    return ReferenceOutputs(
        logits=logits, probabilities=probabilities, tensor_sha256=tuple(map(tensor_digest, tensors))
    )


def test_equal_answers_are_proven(images: list[Path], truth: ReferenceOutputs) -> None:
    parity = prove_parity(session(), RECIPE, images, truth, EQUAL)
    assert (parity.images, parity.top1_agreement, parity.tolerance, parity.passed) == (3, 1.0, 1e-3, True)
    assert parity.max_abs_error == pytest.approx(0, abs=1e-6)


def test_the_worst_difference_is_recorded(images: list[Path], truth: ReferenceOutputs) -> None:
    parity = prove_parity(session(lambda logits: logits + np.float32(5e-4)), RECIPE, images, truth, EQUAL)
    assert parity.max_abs_error == pytest.approx(5e-4, rel=1e-2)
    assert parity.max_rel_error == pytest.approx(5e-4 / np.abs(truth.logits).max(axis=1).min(), rel=1e-2)


def test_probabilities_are_compared_too(images: list[Path], truth: ReferenceOutputs) -> None:
    """Equal logits, but another temperature on the way to the scores."""
    parity = prove_parity(session(probabilities=lambda them: them + np.float32(2e-4)), RECIPE, images, truth, EQUAL)
    assert parity.max_abs_error_probabilities == pytest.approx(2e-4, rel=1e-2)
    assert parity.max_abs_error == 0
    with pytest.raises(ParityError, match=r"probabilities by up to 2\.00e-03"):
        prove_parity(session(probabilities=lambda them: them + np.float32(2e-3)), RECIPE, images, truth, EQUAL)


CHANGES: dict[str, Callable[[Floats], Any]] = {
    "beyond the tolerance": lambda logits: logits + np.float32(2e-3),
    "another label": lambda logits: logits[:, ::-1],
    "not a number": lambda logits: logits * np.float32("nan"),
    "one output": lambda logits: logits[:, :1],
}


@pytest.mark.parametrize("case", CHANGES)
def test_other_answers_are_found(images: list[Path], truth: ReferenceOutputs, case: str) -> None:
    with pytest.raises(ParityError, match="differs from the trained one"):
        prove_parity(session(CHANGES[case]), RECIPE, images, truth, EQUAL)


def test_another_label_within_the_tolerance_is_found(images: list[Path], truth: ReferenceOutputs) -> None:
    close = replace(
        truth,
        logits=np.array([[1.0, 1.0001, 0.0]] * 3, np.float32),
        probabilities=np.array([[0.42228, 0.42233, 0.15539]] * 3, np.float32),
    )
    answers = session(lambda logits: close.logits[:1], probabilities=lambda them: close.probabilities[:1, [1, 0, 2]])
    with pytest.raises(ParityError, match=r"the same label on 0\.0% of 3 images"):
        prove_parity(answers, RECIPE, images, close, EQUAL)


def correct(logits: Floats, temperature: float, weights: tuple[float, ...]) -> Floats:
    """The scores of a model that was trained with class weights."""
    return softmax(logits, temperature, prior_correction(weights)).astype(np.float32)


RULES: dict[str, tuple[tuple[float, ...], float]] = {
    "the weights of other labels": ((0.2, 1.0, 0.05), 2.0),
    "weights a little off": ((1.0, 0.21, 0.05), 2.0),
    "another temperature": ((1.0, 0.2, 0.05), 2.1),
}


@pytest.mark.parametrize("case", RULES)
def test_the_decision_rule_gives_the_labels_of_the_training(
    images: list[Path], truth: ReferenceOutputs, case: str
) -> None:
    """A grey image is near the boundaries: its logits are 5.1, 4.9 and 5."""
    images[0].write_bytes(encode_png((125, 122, 128)))
    tensors = np.asarray([RECIPE.tensor(path.read_bytes()) for path in images])
    logits, _ = ColourSession().run(tensors)
    right = (1.0, 0.2, 0.05)
    scores = correct(logits, 2.0, right)
    original = ReferenceOutputs(
        logits=logits, probabilities=scores, tensor_sha256=tuple(tensor_digest(tensor) for tensor in tensors)
    )

    def prove(weights: tuple[float, ...], temperature: float) -> None:
        answers = iter(scores)
        graph = session(probabilities=lambda them: next(answers)[np.newaxis])
        decision = DecisionRule(label_weights=weights)
        prove_parity(graph, RECIPE, images, original, EQUAL, decision=decision, temperature=temperature)

    prove(right, 2.0)
    with pytest.raises(ParityError, match=r"decision rule does not choose|the same label on"):
        prove(*RULES[case])


def test_no_images_prove_nothing() -> None:
    empty = ReferenceOutputs(
        logits=np.zeros((0, 3), np.float32), probabilities=np.zeros((0, 3), np.float32), tensor_sha256=()
    )
    with pytest.raises(ParityError, match="no images"):
        prove_parity(session(), RECIPE, [], empty, EQUAL)
