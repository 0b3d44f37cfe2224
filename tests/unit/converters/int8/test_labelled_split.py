"""The labelled images int8 is fitted to and judged on, how it is judged, and what else a conversion looks up."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from converters.declaration import Interface
from converters.int8.images import Int8Images, load_labelled
from converters.int8.precision_choice import UNREADABLE, Predicted, Scores, classify
from converters.model_source import ModelSource
from eaves.artifact import DecisionRule
from eaves.inference.session import Session
from tests.fakes.models.artifact import COLOURS, RECIPE, ColourSession, encode_png
from trainer.data.dataset import scan
from trainer.data.split.stored_split import SPLIT_FILE, render_lines
from trainer.progress import SilentProgress

LABELS = tuple(COLOURS)


def write_data(root: Path, labels: tuple[str, ...] = LABELS, count: int = 10) -> Path:
    """Images of different sizes in a folder per label."""
    for label in labels:
        (root / label).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            colour = COLOURS.get(label, (1, 2, 3))
            (root / label / f"{number}.png").write_bytes(encode_png(colour, size=(20 + 3 * number, 20)))
    return root


def build_source(tmp_path: Path, data: Path | None, **changes: Any) -> ModelSource:
    """A run's source: its data and how these were split."""
    (tmp_path / "run").mkdir(exist_ok=True)
    if data is not None and (data / LABELS[0]).is_dir():
        entries = scan(data, val_fraction=0.3, seed=1, near_copies="off").split_entries()
        (tmp_path / "run" / SPLIT_FILE).write_text(render_lines(entries))
    source = ModelSource(
        route="run",
        model=tmp_path / "run/model",
        name="colours",
        version="1",
        labels=LABELS,
        recipe=RECIPE,
        interface=Interface(),
        digest="0" * 64,
        data_path=None if data is None else str(data),
    )
    return replace(source, **changes)


def load(source: ModelSource, tmp_path: Path, data: str = "", images: int = 100) -> Int8Images:
    return load_labelled(source, data, images=images, cache=tmp_path / "cache", progress=SilentProgress())


@pytest.mark.parametrize("route", ["run", "onnx"])
def test_no_image_is_on_both_sides(tmp_path: Path, route: str) -> None:
    data = write_data(tmp_path / "data")
    found = load(build_source(tmp_path, data, route=route), tmp_path)
    judged = {sample.path for sample in found.judged}
    assert judged
    assert found.calibration
    assert not judged & set(found.calibration)
    assert found.trained == {hashlib.sha256(path.read_bytes()).hexdigest() for path in found.calibration}
    assert len(judged) + len(found.calibration) == 30
    assert {sample.label for sample in found.judged} == set(LABELS)
    assert all(sample.path.parent.name == sample.label for sample in found.judged)


# Answers.


def answers(paths: list[Path], *weights: float) -> tuple[Predicted, Scores]:
    source = build_source(paths[0].parent, None, decision=DecisionRule(label_weights=weights))
    return classify(cast(Session, ColourSession()), source, paths, SilentProgress(), "Judging colours")


def test_an_image_that_cannot_be_decoded_has_no_answer(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", count=2)
    (tmp_path / "broken.png").write_bytes(b"no image")
    paths = [data / label / f"{number}.png" for label in LABELS for number in range(2)]
    found = answers([*paths, tmp_path / "broken.png", data / "red/0.png"])
    assert found[0].tolist() == [0, 0, 1, 1, 2, 2, UNREADABLE, 2]
    assert found[1].shape == (8, 3)
    assert found[1][6].tolist() == [0, 0, 0]
    assert answers(paths, 1.0, 1e-30, 1.0)[0][2] != 1, "the decision rule chooses the label"
