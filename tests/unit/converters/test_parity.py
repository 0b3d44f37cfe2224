"""The proof of parity, with a session that can be made to err."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest

from converters.declaration import Interface
from converters.proof import ParityTolerance, ReferenceOutputs, check_declared, prove_parity
from eaves.artifact.golden import tensor_digest
from eaves.errors import ConversionError, ParityError
from eaves.inference.session import Session
from eaves.recipe import Recipe
from tests.fakes.models.artifact import COLOURS, ColourSession, encode_png

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


RULES: dict[str, tuple[tuple[float, ...], float]] = {
    "the weights of other labels": ((0.2, 1.0, 0.05), 2.0),
    "weights a little off": ((1.0, 0.21, 0.05), 2.0),
    "another temperature": ((1.0, 0.2, 0.05), 2.1),
}


def test_no_images_prove_nothing() -> None:
    empty = ReferenceOutputs(
        logits=np.zeros((0, 3), np.float32), probabilities=np.zeros((0, 3), np.float32), tensor_sha256=()
    )
    with pytest.raises(ParityError, match="no images"):
        prove_parity(session(), RECIPE, [], empty, EQUAL)


@pytest.mark.parametrize(
    ("declared", "values", "message"),
    [
        ("probabilities", [[0.9, 0.8]], r"its numbers sum to 1\.700 to 1\.700 and not to 1"),
        ("probabilities", [[-2.0, 3.0]], "its numbers lie between -2"),
        ("logits", [[0.1, 0.9]], "so they are probabilities"),
    ],
)
def test_an_output_that_is_not_what_it_is_declared_as_is_refused(
    declared: str, values: list[list[float]], message: str
) -> None:
    numbers = np.array(values, np.float32)
    interface = Interface(logits="y") if declared == "logits" else Interface(probabilities="y")
    with pytest.raises(ConversionError, match=message):
        check_declared(numbers, numbers, interface, ["y"])


def test_another_input_tensor_than_the_trainings_is_found(images: list[Path], truth: ReferenceOutputs) -> None:
    with pytest.raises(ParityError, match="training and serving make different input tensors"):
        prove_parity(session(), RECIPE, images, replace(truth, tensor_sha256=("0" * 64,) * 3), EQUAL)
