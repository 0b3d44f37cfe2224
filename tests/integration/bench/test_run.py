"""A small benchmark runs in processes of its own, with real functions, from the measurement to the page."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.material import Material, Setup
from bench.registry import PARTS
from bench.report.machine import detect_machine
from bench.report.page import write_page
from bench.report.store import load_results, save_results
from bench.run import measure_part
from tests.fakes.models.graph import write_graph_artifact

pytestmark = pytest.mark.timeout(120)
ONE_AT_A_TIME = next(part for part in PARTS if part.name == "one_at_a_time")


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Setup:
    folder = tmp_path_factory.mktemp("material")
    artifact = write_graph_artifact(folder / "artifact")
    Image.fromarray(np.full((32, 32, 3), 200, np.uint8)).save(folder / "image.jpg")
    material = Material(
        name="colours",
        text="colours, 4x4 pixels",
        run=folder / "run",
        exported=artifact.model_path,
        fp32=artifact.path,
        int8=artifact.path,
        updates={},
        image=folder / "image.jpg",
    )
    return Setup(
        models=(material, replace(material, name="others")), is_quick=True, has_peers=False, environ=os.environ
    )


def test_a_part_is_measured_stored_and_on_the_page(setup: Setup, tmp_path: Path) -> None:
    result = measure_part(ONE_AT_A_TIME, setup, detect_machine())
    assert result.section is not None, result.reason
    assert [figure.name for figure in result.section.figures] == [
        f"{name}, {precision}, p50 above the floor" for name in ("colours", "others") for precision in ("fp32", "int8")
    ]
    assert all(figure.bar for figure in result.section.figures)
    save_results({ONE_AT_A_TIME.name: result}, tmp_path / "results.json")
    page = write_page(load_results(tmp_path / "results.json"), tmp_path).read_text()
    assert "| Eaves, int8 |" in page
    assert "| other servers |  |  |  |  | not measured, by --no-peers |" in page
    assert (tmp_path / "benchmark-one-at-a-time-others.svg").is_file()


def test_a_part_that_fails_leaves_a_reason(setup: Setup) -> None:
    broken = replace(setup, models=(replace(setup.models[0], image=Path("/nowhere.jpg")),))
    result = measure_part(ONE_AT_A_TIME, broken, detect_machine())
    assert result.section is None
    assert result.reason.startswith("it failed with 1")
    assert "nowhere" in result.reason
