"""The serving session with real graphs: which file it opens, and what it refuses to open."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from eaves.artifact import TARGETS, Artifact, Cpu, Quantisation, TensorSpec, Variant, check
from eaves.artifact.store import MODEL
from eaves.errors import ArtifactError
from eaves.inference.session import Session, open_session, pick_variant
from eaves.onnxruntime import VERSION
from tests.fakes.models.artifact import ColourSession
from tests.fakes.models.graph import WEIGHTS, build_graph, save, write_graph_artifact

IMAGE = np.full((1, 8, 8, 3), 200, np.uint8)


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return write_graph_artifact(tmp_path / "artifact")


@pytest.mark.parametrize("optimise", [True, False])
def test_a_graph_answers_the_same_optimised_or_not(artifact: Artifact, optimise: bool) -> None:
    logits, probabilities = Session(artifact.model_path, optimise=optimise).run(IMAGE)
    expected = ColourSession().run(IMAGE)
    assert np.allclose(logits, expected[0], atol=1e-5)
    assert np.allclose(probabilities, expected[1], atol=1e-5)
    assert check(artifact, open_session(artifact).answer) == 3


# Every variant answers something else, so that the answer says which file was opened.
SCALES = {name: 10.0 * number for number, name in enumerate(TARGETS, start=1)}


def with_variants(target: Path, names: list[str], **manifest: object) -> Artifact:
    def add(at: Path) -> None:
        for name in names:
            save(build_graph(location="", scale=SCALES[name]), at / f"variants/{name}/model.onnx")

    variants = tuple(Variant(path=f"variants/{name}/model.onnx", target=name) for name in names)
    fields = {"toolchain": {"onnxruntime": VERSION}, "targets": tuple(names), "variants": variants, **manifest}
    return write_graph_artifact(target, change=add, **fields)


AVX2 = Cpu(flags=frozenset({"avx2", "fma"}))
AVX512 = Cpu(flags=TARGETS["x86_64_avx512"].flags)
VNNI = Cpu(flags=TARGETS["x86_64_avx512_vnni"].flags)
ARM = Cpu(flags=frozenset({"asimd", "asimddp"}))
CHOICES = {
    "an AVX2 file on AVX2": (["x86_64_avx2"], AVX2, "x86_64_avx2"),
    "an AVX512 file on AVX2": (["x86_64_avx512"], AVX2, None),
    "an AVX2 file on AVX512": (["x86_64_avx2"], AVX512, None),
    "an AVX512 file on AVX512": (["x86_64_avx512"], AVX512, "x86_64_avx512"),
    "an AVX512 file on AVX512 with VNNI": (["x86_64_avx512"], VNNI, "x86_64_avx512"),
    "a VNNI file without VNNI": (["x86_64_avx512_vnni"], AVX512, None),
    "the most demanding of two": (["x86_64_avx512", "x86_64_avx512_vnni"], VNNI, "x86_64_avx512_vnni"),
    "one of all": (list(TARGETS), AVX512, "x86_64_avx512"),
    "an ARM file on x86": (["arm64"], AVX512, None),
    "an ARM file on ARM": (list(TARGETS), ARM, "arm64"),
    "AVX512F without the rest": (list(TARGETS), Cpu(flags=AVX2.flags | {"avx512f"}), None),
    "an unknown CPU": (list(TARGETS), Cpu(), None),
}


@pytest.mark.parametrize("case", CHOICES)
def test_the_file_opened_is_the_one_for_this_cpu(tmp_path: Path, case: str) -> None:
    names, cpu, expected = CHOICES[case]
    opened = open_session(with_variants(tmp_path / "a", names), detect=lambda: cpu)
    logits, _ = opened.run(IMAGE)
    scale = SCALES[expected] if expected else 1.0
    assert logits[0, 0] == pytest.approx(8.0 * scale, rel=1e-5)


@pytest.mark.parametrize("toolchain", [{"onnxruntime": "1.0.0"}, {}])
def test_a_variant_of_another_onnxruntime_is_not_opened(tmp_path: Path, toolchain: dict[str, str]) -> None:
    artifact = with_variants(tmp_path / "a", ["x86_64_avx512"], toolchain=toolchain)
    opened = open_session(artifact, detect=lambda: AVX512)
    assert opened.run(IMAGE)[0][0, 0] == pytest.approx(8.0, rel=1e-5)
    assert opened.maps_weights is False
    again = with_variants(tmp_path / "b", ["x86_64_avx512"])
    assert open_session(again, detect=lambda: AVX512).maps_weights is True


def test_nothing_is_asked_of_the_machine_without_variants() -> None:
    assert pick_variant((), lambda: pytest.fail("read /proc/cpuinfo")) is None


def test_an_operator_of_an_unknown_domain_is_refused(tmp_path: Path) -> None:
    path = save(build_graph(location="", domain="evil.example", op="Steal"), tmp_path / MODEL)
    with pytest.raises(ArtifactError, match=r"evil\.example.*Steal|Steal.*evil\.example") as caught:
        Session(path)
    assert "onnxruntime's built-in operators" in (caught.value.hint or "")


def constant(*outputs: tuple[str, int, list[int]], inputs: int = 0) -> onnx.ModelProto:
    """A graph that answers zeros, whatever it is given: outputs as name, type and shape."""
    make = helper.make_tensor_value_info
    zeros = [helper.make_tensor(f"{name}_zeros", kind, shape, [0] * math.prod(shape)) for name, kind, shape in outputs]
    nodes = [helper.make_node("Identity", [f"{name}_zeros"], [name]) for name, *_ in outputs]
    given = [make(f"image{number}", TensorProto.UINT8, ["batch", 8, 8, 3]) for number in range(inputs)]
    graph = helper.make_graph(nodes, "zeros", given, [make(*output) for output in outputs], zeros)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


FLOAT, DOUBLE = TensorProto.FLOAT, TensorProto.DOUBLE
TABLES = (("logits", FLOAT, [1, 3]), ("probabilities", FLOAT, [1, 3]))
NO_CLASSIFIERS = {
    "no input": (constant(*TABLES), r"inputs \(none\)"),
    "two inputs": (constant(*TABLES, inputs=2), "inputs 'image0' uint8 .*, 'image1' uint8"),
    "other outputs": (constant(("scores", FLOAT, [1, 3]), inputs=1), r"outputs 'scores' float32 \[1, 3\]"),
    "no probabilities": (constant(TABLES[0], inputs=1), r"outputs 'logits' float32 \[1, 3\]$"),
    "double": (constant(TABLES[0], ("probabilities", DOUBLE, [1, 3]), inputs=1), "'probabilities' float64"),
    "scalars": (constant(TABLES[0], ("probabilities", FLOAT, []), inputs=1), r"'probabilities' float32 \[\]"),
    "a vector": (constant(("logits", FLOAT, [3]), TABLES[1], inputs=1), r"'logits' float32 \[3\]"),
}


@pytest.mark.parametrize("case", NO_CLASSIFIERS)
def test_a_graph_that_is_no_classifier_of_one_input_is_refused(tmp_path: Path, case: str) -> None:
    model, message = NO_CLASSIFIERS[case]
    with pytest.raises(ArtifactError, match=message):
        Session(save(model, tmp_path / MODEL))


IMAGES = TensorSpec(name="image", dtype="uint8", shape=(-1, 8, 8, 3))
DISAGREEMENTS: dict[str, tuple[dict[str, Any], str]] = {
    "type": ({"input": replace(IMAGES, dtype="float32")}, r"input is 'image' uint8 .*manifest says float32"),
    "size": ({"input": replace(IMAGES, shape=(-1, 9, 8, 3))}, r"manifest says uint8 \[-1, 9, 8, 3\]"),
    "rank": ({"input": replace(IMAGES, shape=(-1, 192))}, r"manifest says uint8 \[-1, 192\]"),
    "labels": ({"labels": ("blue", "green")}, r"output is 'logits' float32 .*manifest has 2 labels"),
    "outputs": ({"outputs": (TensorSpec(name="scores"),)}, r"manifest lists \['scores'\]"),
}


@pytest.mark.parametrize("case", DISAGREEMENTS)
def test_a_graph_that_contradicts_the_manifest_is_refused(tmp_path: Path, case: str) -> None:
    fields, message = DISAGREEMENTS[case]
    artifact = write_graph_artifact(tmp_path / "a", **fields)
    with pytest.raises(ArtifactError, match=message):
        open_session(artifact)


def test_a_batch_that_an_unproven_graph_does_not_take_is_the_artifacts_fault(artifact: Artifact) -> None:
    session = open_session(artifact)
    for batch in (IMAGE.astype(np.int8), IMAGE[:, :4], IMAGE[0]):
        with pytest.raises(ArtifactError, match=r"onnxruntime can't run .*model.onnx on u?int8"):
            session.attempt(batch)
    assert session.attempt(IMAGE)["logits"][0, 0] == pytest.approx(8.0, rel=1e-5)


def test_the_portable_graph_opens_where_a_variant_fits(tmp_path: Path) -> None:
    artifact = with_variants(tmp_path / "a", ["x86_64_avx2"])
    opened = open_session(artifact, detect=lambda: AVX2, portable=True)
    assert opened.run(IMAGE)[0][0, 0] == pytest.approx(8.0, rel=1e-5)


ARM = Cpu(flags=frozenset({"asimd"}))


@pytest.mark.parametrize("here", [AVX2, AVX512])
def test_int8_whose_sums_would_overflow_here_is_refused_before_it_answers(tmp_path: Path, here: Cpu) -> None:
    found = Quantisation(asked="int8", shipped=True, instruction_set="vnni")
    made = write_graph_artifact(tmp_path / "a", precision="int8", quantisation=found, optimise_on_open=False)
    with pytest.raises(ArtifactError, match="int8 dot products") as caught:
        open_session(made, detect=lambda: here)
    assert "precision fp32" in (caught.value.hint or "")
    for fine in (VNNI, ARM, Cpu()):
        assert open_session(made, detect=partial(Cpu, flags=fine.flags)).run(IMAGE)[0].shape == (1, 3)


@pytest.mark.parametrize("content", [b"", b"not a graph", b"\x08\x08" * 1000])
def test_what_is_no_graph_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / MODEL).write_bytes(content)
    with pytest.raises(ArtifactError, match="can't load"):
        Session(tmp_path / MODEL)


def outside(tmp_path: Path) -> Path:
    """Weights beside the artifact, which a graph may want."""
    secret = tmp_path / "secret.bin"
    secret.write_bytes(WEIGHTS.tobytes())
    return secret


def test_weights_inside_the_models_folder_are_read(tmp_path: Path) -> None:
    path = save(build_graph(location="weights/w.bin"), tmp_path / "model" / MODEL)
    outside(tmp_path).rename(tmp_path / "w.bin")
    (path.parent / "weights").mkdir()
    (tmp_path / "w.bin").rename(path.parent / "weights/w.bin")
    assert Session(path).run(IMAGE)[0][0, 0] == pytest.approx(8.0, rel=1e-5)


# Our own check of the list in the manifest doesn't see what the graph names: onnxruntime's own refusal is what keeps
# external data inside, and these tests are what says that it does.
@pytest.mark.parametrize("way", ["..", "deep ..", "absolute", "symlink", "symlinked folder", "dangling", "short"])
@pytest.mark.parametrize("optimise", [True, False])
def test_weights_outside_the_models_folder_are_never_read(tmp_path: Path, way: str, optimise: bool) -> None:
    secret = outside(tmp_path)
    folder = tmp_path / "model"
    (folder / "weights").mkdir(parents=True)
    location = {"..": "../secret.bin", "deep ..": "weights/../../secret.bin", "absolute": str(secret)}.get(way, "w.bin")
    if way == "symlink":
        (folder / "w.bin").symlink_to(secret)
    elif way == "symlinked folder":
        location = "linked/secret.bin"
        (folder / "linked").symlink_to(tmp_path)
    elif way == "dangling":
        (folder / "w.bin").symlink_to(tmp_path / "nothing")
    elif way == "short":
        (folder / "w.bin").write_bytes(WEIGHTS.tobytes()[:8])
    path = save(build_graph(location=location), folder / MODEL)
    with pytest.raises(ArtifactError, match="can't load"):
        Session(path, optimise=optimise)
