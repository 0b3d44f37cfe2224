"""The proof of parity, with a session that can be made to err."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest

from converters.declaration import Interface
from converters.model_source import ModelSource
from converters.proof import Answers, check_declared, prove_parity
from eaves.artifact.golden import tensor_digest
from eaves.artifact.manifest import DecisionRule
from eaves.errors import ConversionError, ParityError
from eaves.inference.session import Session
from eaves.recipe import Recipe
from tests.fakes.models.artifact import COLOURS, ColourSession, encode_png

RECIPE = Recipe(height=8, width=8)
SOURCE = ModelSource(
    route="onnx",
    model=Path("model.onnx"),
    name="colours",
    version="1",
    labels=tuple(COLOURS),
    recipe=RECIPE,
    interface=Interface(),
    digest="0" * 64,
)
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
def truth(images: list[Path]) -> Answers:
    tensors = [RECIPE.tensor(path.read_bytes()) for path in images]
    return answers(ColourSession().answer(np.asarray(tensors)), tuple(map(tensor_digest, tensors)))


def answers(outputs: Mapping[str, Floats], digests: tuple[str, ...]) -> Answers:
    rows = [{name: output[index] for name, output in outputs.items()} for index in range(len(digests))]
    return Answers(outputs=tuple(rows), tensor_sha256=digests)


def test_probabilities_are_compared_too(images: list[Path], truth: Answers):
    """Equal logits, but another temperature on the way to the scores."""
    parity = prove_parity(session(probabilities=lambda them: them + np.float32(2e-4)), SOURCE, images, truth, 1e-3)
    assert parity.max_abs_error_probabilities == pytest.approx(2e-4, rel=1e-2)
    assert parity.max_abs_error == 0
    with pytest.raises(ParityError, match=r"probabilities by up to 2\.00e-03"):
        prove_parity(session(probabilities=lambda them: them + np.float32(2e-3)), SOURCE, images, truth, 1e-3)


@pytest.mark.parametrize(
    "change",
    [
        lambda logits: logits + np.float32(2e-3),
        lambda logits: logits[:, ::-1],
        lambda logits: logits * np.float32("nan"),
        lambda logits: logits[:, :1],
    ],
    ids=["beyond the tolerance", "another label", "not a number", "one output"],
)
def test_other_answers_are_found(images: list[Path], truth: Answers, change: Change):
    with pytest.raises(ParityError, match="differs from the trained one"):
        prove_parity(session(change), SOURCE, images, truth, 1e-3)


def test_another_label_within_the_tolerance_is_found(images: list[Path], truth: Answers):
    close = {
        "logits": np.array([[1.0, 1.0001, 0.0]] * 3, np.float32),
        "probabilities": np.array([[0.42228, 0.42233, 0.15539]] * 3, np.float32),
    }
    erring = session(
        lambda logits: close["logits"][:1], probabilities=lambda them: close["probabilities"][:1, [1, 0, 2]]
    )
    with pytest.raises(ParityError, match=r"the same label on 0\.0% of 3 samples"):
        prove_parity(erring, SOURCE, images, answers(close, truth.tensor_sha256), 1e-3)


def test_a_rule_that_is_not_the_trainings_is_found(images: list[Path], truth: Answers):
    source = replace(SOURCE, route="run", decision=DecisionRule(label_weights=(1.0, 100.0, 1.0)))
    with pytest.raises(ParityError, match="the decision rule does not choose"):
        prove_parity(session(), source, images, truth, 1e-3)


def test_no_images_prove_nothing():
    with pytest.raises(ParityError, match="no images"):
        prove_parity(session(), SOURCE, [], answers({}, ()), 1e-3)


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
):
    numbers = np.array(values, np.float32)
    interface = Interface(logits="y") if declared == "logits" else Interface(probabilities="y")
    with pytest.raises(ConversionError, match=message):
        check_declared(numbers, numbers, interface, ["y"])


def test_another_input_tensor_than_the_trainings_is_found(images: list[Path], truth: Answers):
    with pytest.raises(ParityError, match="training and serving make different input tensors"):
        prove_parity(session(), SOURCE, images, replace(truth, tensor_sha256=("0" * 64,) * 3), 1e-3)
