"""Graphs that are prepared for this machine: when they are made and opened, and when the portable graph is opened."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eaves.artifact import Artifact
from eaves.artifact.store import MODEL
from eaves.errors import ArtifactError, GoldenError
from eaves.inference.graph_preparation import prepare_graph
from eaves.inference.onnxruntime import VERSION
from eaves.inference.prepared_graphs import MIN_BYTES, detect_layout, find_graph, graph_name
from eaves.inference.session import open_session
from functions.model_loading import LoadingModel
from functions.settings import FunctionSettings
from functions.start import StartTiming
from tests.fakes.models.graph import build_graph, save, write_graph_artifact

IMAGE = np.full((1, 8, 8, 3), 200, np.uint8)
AVX2, AVX512, OTHER = "avx2", "avx512", ""


@pytest.mark.parametrize(
    ("text", "layout"),
    [
        ("model name\t: x\nflags\t\t: fpu avx avx2 fma\n", AVX2),
        ("power management: avx512f\nflags: avx2\nflags: avx512f\n", AVX2),
        ("flags: avx2 avx512f avx512bw\n", AVX512),
        ("processor: 0\nFeatures\t: fp asimd asimddp\n", OTHER),
        ("flags: sse4_2 avx\n", OTHER),
        ("\0\xff" * 10, OTHER),
    ],
)
def test_the_layout_follows_from_the_flags_of_the_cpu(tmp_path: Path, text: str, layout: str):
    (tmp_path / "cpuinfo").write_text(text)
    assert detect_layout(tmp_path / "cpuinfo") == layout
    assert detect_layout(tmp_path / "gone") == OTHER


def enlarge(staging: Path) -> None:
    """Make the weights' file as large as that of a model that is worth preparing."""
    with (staging / "weights/backbone.bin").open("ab") as stream:
        stream.truncate(MIN_BYTES)


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return write_graph_artifact(tmp_path / "artifact", change=enlarge)


@pytest.fixture
def graphs(tmp_path: Path) -> Path:
    return tmp_path / "state/graphs"


def opens_prepared(artifact: Artifact, graphs: Path | None, layout: str = AVX2) -> bool:
    session = open_session(artifact, prepared=graphs, detect=lambda: layout)
    assert session.answer(IMAGE)["logits"][0, 0] == pytest.approx(8.0, rel=1e-5)
    return session.maps_weights


def test_a_prepared_graph_is_opened_without_optimising_it_again(artifact: Artifact, graphs: Path):
    assert not opens_prepared(artifact, graphs)
    made = prepare_graph(artifact, graphs, detect=lambda: AVX2)
    assert made == graphs / f"{artifact.digest}-avx2-onnxruntime-{VERSION}"
    assert opens_prepared(artifact, graphs)
    assert prepare_graph(artifact, graphs, detect=lambda: AVX2) is None
    assert [path.name for path in graphs.glob("[!.]*")] == [made.name]
    assert list(graphs.glob(".staging*")) == []


def test_another_onnxruntime_opens_the_portable_graph(artifact: Artifact, graphs: Path):
    made = prepare_graph(artifact, graphs, detect=lambda: AVX2)
    assert made is not None
    made.rename(graphs / made.name.replace(VERSION, "1.0.0"))
    assert not opens_prepared(artifact, graphs)
    assert prepare_graph(artifact, graphs, detect=lambda: AVX2) == made
    assert [path.name for path in graphs.glob("[!.]*")] == [made.name]  # the old one would stay for ever


def test_what_would_gain_nothing_is_not_prepared(artifact: Artifact, graphs: Path, tmp_path: Path):
    small = write_graph_artifact(tmp_path / "small")
    final = replace(artifact, manifest=replace(artifact.manifest, optimise_on_open=False))
    for one, layout in ((small, AVX2), (final, AVX2), (artifact, OTHER)):
        assert graph_name(one, layout) is None
        assert prepare_graph(one, graphs, detect=lambda layout=layout: layout) is None  # type: ignore[misc]
    assert list(graphs.glob("[!.]*")) == []


def test_a_damaged_graph_is_not_opened_and_is_made_again(
    artifact: Artifact, graphs: Path, caplog: pytest.LogCaptureFixture
):
    made = prepare_graph(artifact, graphs, detect=lambda: AVX2)
    assert made is not None
    content = (made / MODEL).read_bytes()
    (made / MODEL).write_bytes(content[: len(content) // 2])
    assert not opens_prepared(artifact, graphs)
    assert "removed the prepared graph" in caplog.text
    assert "eaves deploy" in caplog.text
    assert prepare_graph(artifact, graphs, detect=lambda: AVX2) == made
    assert opens_prepared(artifact, graphs)


def test_a_prepared_graph_with_other_outputs_is_removed_for_the_next_start(artifact: Artifact, graphs: Path):
    prepare_graph(artifact, graphs)
    found = find_graph(graphs, artifact)
    if found is None:
        pytest.skip("this CPU has no layout in blocks")
    save(build_graph(location="", scale=2), found)

    def load() -> LoadingModel:
        model = LoadingModel(FunctionSettings(artifact=artifact.path, prepared_graphs=graphs), StartTiming())
        model.start()
        model.wait(30)
        return model

    first, second = load(), load()
    assert isinstance(first.failure, ArtifactError)
    assert "logits differ" in first.failure.message
    assert second.ready
    assert list(graphs.glob("[!.]*")) == []


def test_a_graph_that_does_not_reproduce_the_golden_images_is_not_stored(graphs: Path, tmp_path: Path):
    def spoil(staging: Path) -> None:
        enlarge(staging)
        save(build_graph(location="", scale=2), staging / MODEL)

    with pytest.raises(GoldenError, match="logits differ"):
        prepare_graph(write_graph_artifact(tmp_path / "a", change=spoil), graphs, detect=lambda: AVX2)
    assert [path.name for path in graphs.iterdir()] == [".lock"]
