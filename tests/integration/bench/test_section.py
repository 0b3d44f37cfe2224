"""A small benchmark runs with real functions and a real platform, in its shortest form, whatever it takes."""

import os
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.__main__ import SECTIONS
from bench.function.one_at_a_time import measure
from bench.local_platform import build_event, measure_latency, measure_rates, run_platform
from bench.material import Material, Setup
from bench.measure import accept_events, send_all
from bench.processes import memory_mb
from bench.report import PAGE
from tests.fakes.models.graph import write_graph_artifact

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_graph_artifact(tmp_path_factory.mktemp("material") / "artifact").path


def test_every_section_has_a_place_on_the_page():
    page = PAGE.read_text()
    assert all(0 < page.find(f"<!-- {name} -->\n") < page.find(f"<!-- /{name} -->\n") for name in SECTIONS)


@pytest.mark.long("a short form of a benchmark runs")
@pytest.mark.slow
def test_one_image_at_a_time_is_measured_with_each_model(artifact: Path, tmp_path: Path):
    Image.fromarray(np.full((32, 32, 3), 200, np.uint8)).save(tmp_path / "image.jpg")
    material = Material(
        name="colours",
        run=tmp_path / "run",
        exported=artifact / "model.onnx",
        precisions={"fp32": artifact, "int8": artifact},
        updates={},
        image=tmp_path / "image.jpg",
    )
    models = (material, replace(material, name="others"))
    section = measure(Setup(models=models, is_quick=True, has_peers=False, environ=os.environ))
    assert [figure.name for figure in section.figures] == [
        f"{name}, {precision}, p50 above the floor" for name in ("colours", "others") for precision in ("fp32", "int8")
    ]
    assert "| other servers |  |  |  |  | not measured, by --no-peers |" in section.render()


@pytest.mark.long("a short form of a benchmark runs")
@pytest.mark.slow
def test_a_platform_is_measured_from_outside(artifact: Path):
    with (
        tempfile.TemporaryDirectory(prefix="eaves-") as short,  # the platform's sockets need a short path
        accept_events() as sink,
        run_platform(artifact, sink=sink.url, below=Path(short)) as platform,
    ):
        figures = [*measure_latency(platform, sink, artifact, 3), *measure_rates(platform, sink, 30)]
        assert all(figure.value > 0 for figure in figures[1:])  # the first one is a difference
        assert len(sink.arrived_at) == 3 + 2 * 30
        assert send_all(platform.port, [build_event("more", b"")]).latencies_ms[0] > 0
        assert memory_mb(platform.pid) > memory_mb(platform.pid, descendants=False) > 5
