"""What of the artifact before can stay: its int8 backbone, its golden images."""

from dataclasses import replace
from pathlib import Path
from random import Random

import onnx
import pytest
from onnx import numpy_helper

from converters.declaration import Interface
from converters.int8.equalizer import calibrate
from converters.int8.precision_choice import calibration_key, find_calibrated
from converters.int8.quantizer import quantize
from converters.model_source import ModelSource
from converters.onnx.graph import canonicalize, write_graph
from converters.staging import choose_goldens, find_previous
from eaves.artifact import Artifact, Quantisation, Trial, load_golden, write_artifact
from eaves.artifact.store import MODEL, file_digest
from eaves.recipe import Recipe
from tests.fakes.models.artifact import COLOURS, RECIPE, build_manifest, encode_png, fill, write_colours
from tests.fakes.models.network import Network, copy, images
from trainer.run.run import ParitySample

BATCH = images(8)
RUNTIME = "1.31"


def build_source(**changes: object) -> ModelSource:
    source = ModelSource(
        route="run",
        model=Path("run/model"),
        name="colours",
        version="2",
        labels=tuple(COLOURS),
        recipe=RECIPE,
        interface=Interface(),
        digest="0" * 64,
        split=True,
    )
    return replace(source, **changes)  # type: ignore[arg-type]


def build() -> onnx.ModelProto:
    network = Network()
    last = network.add("Relu", network.conv(network.floats(), 4, 3, out="conv"))
    model = network.build(network.conv(last, 6, 3))
    canonicalize(model)
    return model


def change(model: onnx.ModelProto, prefix: str, number: int = 0) -> onnx.ModelProto:
    """A copy of which one weight of those with such a name is another."""
    fresh = copy(model)
    tensor = [tensor for tensor in fresh.graph.initializer if tensor.name.startswith(prefix)][number]
    value = numpy_helper.to_array(tensor).copy()
    value.flat[-1] += 1
    tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    return fresh


def key(model: onnx.ModelProto, source: ModelSource | None = None, *, runtime: str = RUNTIME) -> str:
    return calibration_key(model, source or build_source(), runtime)


def test_the_key_is_of_the_backbone_and_not_of_the_head():
    model = build()
    assert key(change(model, "head/")) == key(change(model, "head/", 1)) == key(copy(model)) == key(model)
    others = [key(change(model, "backbone/", number)) for number in range(4)]
    assert len({key(model), *others}) == 5


def write_int8(model: onnx.ModelProto, target: Path) -> Artifact:
    """An int8 artifact of a network: graph and weights are real, the rest is the colours'."""
    work = target.parent / f"{target.name}.work"
    work.mkdir()
    int8 = quantize(model, calibrate(model, BATCH), work)
    staging = fill(work / "staging")
    write_graph(int8, staging / MODEL, split=True)
    found = Quantisation(asked="int8", shipped=True, calibration_key=key(model), trials=(Trial(),))
    manifest = build_manifest(staging, precision="int8", quantisation=found, optimise_on_open=False)
    return write_artifact(staging, target, manifest)


def test_nothing_is_taken_from_what_is_no_int8_artifact_of_this_backbone(tmp_path: Path):
    model = build()
    previous = write_int8(model, tmp_path / "previous")
    fp32 = write_colours(tmp_path / "fp32")
    assert find_calibrated((), key(model)) is None
    assert find_calibrated((previous,), key(change(model, "backbone/"))) is None
    assert find_calibrated((fp32,), key(model)) is None
    assert find_calibrated((fp32, previous), key(model)) == previous


@pytest.mark.parametrize("name", ["weights/head.bin", "golden/000.png"])
def test_a_damaged_artifact_is_nothing_to_build_on(tmp_path: Path, name: str):
    model = build()
    previous = write_int8(model, tmp_path / "previous")
    content = bytearray((previous.path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (previous.path / name).write_bytes(content)
    assert find_calibrated((previous,), key(model)) is None
    samples = write_samples(tmp_path / "samples")
    assert all(sample in samples for sample in choose_goldens(build_source(samples=samples), (previous,), 10))


def test_artifacts_beside_the_output_are_the_previous_ones_the_highest_version_first(tmp_path: Path):
    (tmp_path / "artifacts").mkdir()
    for name, version in (("a", "1"), ("b", "3"), ("c", "2"), (".d.killed", "4")):
        staging = fill(tmp_path / f"{name}.staging")
        write_artifact(staging, tmp_path / "artifacts" / name, build_manifest(staging, version=version))
    (tmp_path / "artifacts/broken").mkdir()
    (tmp_path / "artifacts/broken/manifest.json").write_text("{}")
    assert [found.path.name for found in find_previous("", tmp_path / "artifacts/new")] == ["b", "c", "a"]
    assert find_previous("", tmp_path / "elsewhere/new") == ()


# Golden images.


def write_samples(folder: Path, labels: tuple[str, ...] = tuple(COLOURS), count: int = 3) -> tuple[ParitySample, ...]:
    made = []
    for label in labels:
        for number in range(count):
            path = folder / f"{label}{number}.png"
            folder.mkdir(exist_ok=True)
            path.write_bytes(encode_png(COLOURS.get(label, (9, 9, 9)), size=(8 + number, 8)))
            made.append(ParitySample(path=path, label=label, sha256=file_digest(path)))
    return tuple(made)


def test_one_image_of_each_label_and_the_same_in_whatever_order(tmp_path: Path):
    samples = write_samples(tmp_path)
    chosen = choose_goldens(build_source(samples=samples), (), 10)
    assert [sample.label for sample in chosen] == ["blue", "green", "red"]
    assert {sample.sha256 for sample in chosen} == {
        min(sample.sha256 for sample in samples if sample.label == label) for label in COLOURS
    }
    for seed in range(5):
        shuffled = list(samples)
        Random(seed).shuffle(shuffled)
        assert choose_goldens(build_source(samples=tuple(shuffled)), (), 10) == chosen
    assert choose_goldens(build_source(samples=samples), (), 2) == chosen[:2]


def test_the_previous_images_stay_while_they_cover_the_labels(tmp_path: Path):
    previous = write_colours(tmp_path / "previous")
    old = [previous.path / case.file for case in load_golden(previous)]
    source = build_source(samples=write_samples(tmp_path / "samples"))
    for limit in (3, 10):
        assert [sample.path for sample in choose_goldens(source, (previous,), limit)] == old
    for sample in choose_goldens(source, (previous,), 3):
        assert sample.sha256 == file_digest(sample.path)


def test_the_previous_images_go_when_they_are_too_many_or_of_other_labels(tmp_path: Path):
    previous = write_colours(tmp_path / "previous")
    samples = write_samples(tmp_path / "samples")
    for source, limit in (
        (build_source(samples=samples), 2),
        (build_source(samples=samples, labels=("blue", "green", "white")), 10),
        (build_source(samples=samples, name="other"), 10),
        (build_source(samples=samples, recipe=Recipe(height=9, width=8)), 10),
    ):
        chosen = choose_goldens(source, (previous,), limit)
        assert all(sample in samples for sample in chosen)
