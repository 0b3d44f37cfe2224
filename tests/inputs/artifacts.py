"""A real, tiny artifact: digits trained and converted once, for every suite that serves something."""

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.inputs.settings import settings_from
from tests.once import build_once_here

CLASSES = 4
PER_CLASS = 18


def build_tiny_dataset(root: Path) -> Path:
    """Write scikit-learn's digits 0 to 3, 18 of each, as PNGs in a folder per class; returns `root`."""
    from sklearn.datasets import load_digits

    digits, count = load_digits(), Counter[int]()
    for number, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        if label < CLASSES and count[label] < PER_CLASS:
            count[label] += 1
            (root / str(label)).mkdir(parents=True, exist_ok=True)
            Image.fromarray((pixels * 255 / 16).astype(np.uint8)).save(root / str(label) / f"{number:04d}.png")
    return root


def build_run(root: Path) -> Path:
    """Train a small network for a few epochs; returns the run, `root`/run."""
    from trainer.settings import DataSettings, TrainSettings
    from trainer.train import train

    values = {"arch": "small_cnn", "epochs": 12, "image_size": 16, "batch_size": 8, "augment": False}
    settings = settings_from(TrainSettings, values)
    return train(DataSettings(path=build_tiny_dataset(root / "digits")), settings, root / "run", name="digits").path


def build_artifact(root: Path) -> Path:
    """Train and convert; returns the artifact, `root`/artifact."""
    from converters.convert import convert
    from converters.settings import ConvertSettings

    return convert(build_run(root), root / "artifact", ConvertSettings(precision="fp32")).path


def build_graph(run: Path, root: Path) -> tuple[Path, Path]:
    """A run's graph as exported, declared as a model that others made: it converts in seconds, without TensorFlow.

    Returns:
        model: `root`/exported.onnx.
        declaration: `root`/model.yaml, with the run's held-out images as samples.
    """
    from converters.convert import export
    from converters.model_source import open_source
    from converters.settings import ConvertSettings

    source = open_source(run)
    root.mkdir(parents=True, exist_ok=True)
    export(source, root / "exported.onnx", ConvertSettings(), ())
    for path in (run.parent / "digits").glob("*/*.png"):
        (root / "samples" / path.parent.name).mkdir(parents=True, exist_ok=True)
        (root / "samples" / path.parent.name / path.name).write_bytes(path.read_bytes())
    declared = {"name": "digits", "labels": list(source.labels), "samples": "samples", "logits": "logits"}
    size = {"height": source.recipe.height, "width": source.recipe.width}
    (root / "model.yaml").write_text(yaml.safe_dump({**declared, **size}), encoding="utf-8")
    return root / "exported.onnx", root / "model.yaml"


@pytest.fixture(scope="session")
def tiny_artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fp32 artifact's directory; copy it before changing anything."""
    return build_once_here(tmp_path_factory, "tiny", build_artifact)


@pytest.fixture(scope="session")
def tiny_run(tiny_artifact: Path) -> Path:
    """The run that the tiny artifact was converted from; copy it before changing anything."""
    return tiny_artifact.parent / "run"


@pytest.fixture(scope="session")
def tiny_graph(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run's exported graph, with all labelled images in `samples` and a declaration beside it."""
    tiny = tiny_run.parent
    return build_once_here(tmp_path_factory, "graph", lambda folder: build_graph(tiny_run, folder)[0], tiny)


@pytest.fixture(scope="session")
def tiny_int8(tiny_graph: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An int8 artifact of that graph; copy it before changing anything."""
    from converters.convert import convert
    from converters.settings import ConvertSettings

    settings = ConvertSettings(precision="int8")
    graph = tiny_graph.parent
    return build_once_here(
        tmp_path_factory, "int8", lambda folder: convert(tiny_graph, folder / "artifact", settings).path, graph
    )


def build_inspection(root: Path, method: str) -> Path:
    """Train on photos of good parts by a method and convert; returns the artifact, `root`/artifact."""
    from converters.convert import convert
    from converters.settings import ConvertSettings
    from tests.inputs.parts import write_parts
    from trainer.settings import DataSettings, TrainSettings
    from trainer.train import train

    values = {"task": "anomaly", "good": "ok", "image_size": 96, "method": method}
    data = DataSettings(path=write_parts(root / "photos", 24, classes=("ok",)))
    run = train(data, settings_from(TrainSettings, values), root / "run", name="parts", cache=root / "cache")
    return convert(run.path, root / "artifact", ConvertSettings(precision="fp32")).path


@pytest.fixture(scope="session", params=["gaussian", "diagonal"])
def inspection(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifact of a model that finds scratches, once for each method that adds up."""
    method = str(request.param)
    return build_once_here(tmp_path_factory, f"inspection-{method}", lambda root: build_inspection(root, method))


def copy_artifact(artifact: Path, folder: Path, *, version: str) -> Path:
    """The same artifact under another version, and so another digest."""
    shutil.copytree(artifact, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "version": version}))
    return folder


def split_artifact(artifact: Path, folder: Path) -> Path:
    """The same artifact as if its run had frozen the backbone: its head has a file of weights of its own."""
    import onnx

    from converters.onnx.graph import canonicalize, find_features, write_graph
    from converters.onnx.graph_rewrites import replace_nodes
    from eaves.artifact import open_artifact, write_artifact
    from eaves.artifact.store import file_entries

    staging = folder.with_name(f"{folder.name}.staging")
    shutil.copytree(artifact, staging)
    (staging / "manifest.json").unlink()
    model = onnx.load(str(staging / "model.onnx"))
    first = next(place for place, node in enumerate(model.graph.node) if node.op_type == "Gemm")
    if not any(node.op_type == "Div" for node in model.graph.node):  # a foreign graph has no temperature
        for name, value in (("shift", 0.0), ("divisor", 1.0)):
            array = np.full((1, CLASSES), value, np.float32)
            model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
        scaling = [
            onnx.helper.make_node("Sub", ["logits", "shift"], ["shifted"], name="shifted"),
            onnx.helper.make_node("Div", ["shifted", "divisor"], ["scaled"], name="scaled"),
        ]
        place = next(place for place, node in enumerate(model.graph.node) if node.op_type == "Softmax")
        model.graph.node[place].input[0] = "scaled"
        nodes = [*model.graph.node[:place], *scaling, *model.graph.node[place:]]
        replace_nodes(model.graph, nodes)
    for node in model.graph.node[first:]:
        node.name = f"head/{node.name}" if node.op_type in ("Gemm", "Sub", "Div") else node.name
        for tensor in model.graph.initializer:
            if tensor.name in node.input:
                node.input[:] = [f"head/{name}" if name == tensor.name else name for name in node.input]
                tensor.name = f"head/{tensor.name}"
    canonicalize(model)
    write_graph(model, staging / "model.onnx", split=True)
    manifest = replace(open_artifact(artifact).manifest, version="20260101-000000-00000000")
    manifest = replace(manifest, features=find_features(staging / "model.onnx"))
    return write_artifact(staging, folder, replace(manifest, files=file_entries(staging))).path
