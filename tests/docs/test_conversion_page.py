"""docs/02-conversion.md: each route's declaration and command, as they are printed, in a fresh folder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from tests.inputs.artifacts import tiny_artifact, tiny_run

__all__ = ["tiny_artifact", "tiny_run"]  # fixtures

PAGE = Path(__file__).parents[2] / "docs/02-conversion.md"
COMMAND = "eaves convert "


def read_routes() -> dict[str, tuple[str, str]]:
    """Name of each route's model to its declaration, empty for a run, and the command to convert it."""
    section = PAGE.read_text().split("\n## Routes\n")[1].split("\n## Memory\n")[0]
    blocks = [
        re.sub(r"^ {4}", "", block, flags=re.MULTILINE)
        for block in re.findall(r"(?:^ {4}.*\n|^\n)+", section, re.MULTILINE)
    ]
    routes, declaration = {}, ""
    for block in "\n".join(blocks).split("\n\n"):
        if block.strip().startswith(COMMAND):
            command = block.strip()
            routes[Path(command.removeprefix(COMMAND).split()[0]).stem] = (declaration, command)
            declaration = ""
        elif block.strip():
            declaration = block
    return routes


def write_images(folder: Path, labels: list[str]) -> None:
    """Two images a label, each label of a colour of its own."""
    rng = np.random.default_rng(0)
    for number, label in enumerate(labels):
        (folder / label).mkdir(parents=True)
        for image in range(2):
            pixels = rng.integers(0, 60, (40, 40, 3), dtype=np.uint8)
            pixels[..., number % 3] += 180
            Image.fromarray(pixels).save(folder / label / f"{image}.png")


def build_pets(folder: Path) -> None:
    import keras

    keras.utils.set_random_seed(1)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((160, 160, 3)),
            layers.Rescaling(1 / 255),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    model.save(folder / "pets.keras")
    write_images(folder / "samples", ["cat", "dog"])


def build_birds(folder: Path) -> None:
    import tensorflow as tf

    weights = tf.Variable(tf.random.stateless_normal((3, 3), seed=(1, 2)))
    module = tf.Module()
    module.weights = weights

    def classify(pictures: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"scores": tf.linalg.matmul(tf.reduce_mean(pictures, (1, 2)), weights)}

    taken = tf.TensorSpec((None, 224, 224, 3), tf.float32, name="pictures")
    signature = tf.function(classify).get_concrete_function(taken)
    tf.saved_model.save(module, str(folder / "exported/birds"), signatures={"classify": signature})
    (folder / "birds.txt").write_text("jay\nrobin\nwren\n")
    write_images(folder / "birds/val", ["jay", "robin", "wren"])


def build_leaves(folder: Path) -> None:
    weights = np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("GlobalAveragePool", ["input.1"], ["a"]),
        helper.make_node("Flatten", ["a"], ["b"]),
        helper.make_node("Gemm", ["b", "fc.weight"], ["191"]),
    ]
    graph = helper.make_graph(
        nodes,
        "torch_jit",
        [helper.make_tensor_value_info("input.1", TensorProto.FLOAT, ["batch", 3, 224, 224])],
        [helper.make_tensor_value_info("191", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(weights, "fc.weight")],
    )
    save(graph, folder / "leaves.onnx")
    write_images(folder / "val", ["healthy", "rust", "scab"])


def build_air(folder: Path) -> None:
    weights = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["window", "w"], ["quality"])],
        "air",
        [helper.make_tensor_value_info("window", TensorProto.FLOAT, ["batch", 2])],
        [helper.make_tensor_value_info("quality", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(weights, "w")],
    )
    save(graph, folder / "air.onnx")
    (folder / "windows").mkdir()
    for number in range(3):
        (folder / f"windows/{number}.json").write_text(json.dumps([21.5 + number, 412.0]))


def save(graph: onnx.GraphProto, path: Path) -> None:
    opset = helper.make_opsetid("", 17)
    path.write_bytes(helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString())


BUILDERS: dict[str, Callable[[Path], None]] = {
    "pets": build_pets,
    "birds": build_birds,
    "leaves": build_leaves,
    "air": build_air,
}


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, f"{command}: {done.stderr[-3000:]}"
    return done


def test_the_page_has_a_command_for_every_route() -> None:
    routes = read_routes()
    assert set(routes) == {"flowers", *BUILDERS}
    assert [name for name, (declaration, _) in routes.items() if not declaration] == ["flowers"]


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", BUILDERS)
def test_a_declared_model_converts_as_printed_in_a_fresh_folder(name: str, tmp_path: Path) -> None:
    declaration, command = read_routes()[name]
    BUILDERS[name](tmp_path)
    named = re.search(r"--declare (\S+)", command)
    (tmp_path / (named[1] if named else "model.yaml")).write_text(declaration)
    done = run(command, tmp_path)
    assert done.stdout.strip() == f"artifacts/{name}"
    manifest = json.loads((tmp_path / f"artifacts/{name}/manifest.json").read_text())
    assert manifest["name"] == name
    assert not (tmp_path / "eaves.yaml").exists()


@pytest.mark.timeout(400)
def test_a_run_converts_as_printed_in_a_fresh_folder(tiny_run: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/flowers").symlink_to(tiny_run, target_is_directory=True)
    _, command = read_routes()["flowers"]
    done = run(f"EAVES_CONVERT_PRECISION=fp32 {command}", tmp_path)
    assert done.stdout.strip() == "artifacts/flowers"


@pytest.mark.timeout(400)
def test_what_follows_a_conversion_asks_for_no_samples_and_no_training(tmp_path: Path) -> None:
    """`eaves init` before the conversion names `convert`; after it, `deploy`, which wants the function at once."""
    declaration, command = read_routes()["leaves"]
    BUILDERS["leaves"](tmp_path)
    (tmp_path / "leaves.yaml").write_text(declaration)
    before = run("eaves init --name leaves", tmp_path)
    assert "describe leaves.onnx in a model.yaml, then `eaves convert leaves.onnx`" in before.stderr
    (tmp_path / "eaves.yaml").unlink()
    run(command, tmp_path)
    (tmp_path / "val").rename(tmp_path / "elsewhere")
    after = run("eaves init --name leaves", tmp_path)
    assert after.stderr.strip() == "next: `eaves deploy`"
    run("eaves verify artifacts/leaves", tmp_path)
    deployed = run("eaves deploy", tmp_path)
    assert deployed.stdout.strip() == "leaves"
    assert "deployed; `eaves up` is not running here, so start it to run the function" in deployed.stderr


def test_a_file_of_settings_that_was_named_must_be_there(tmp_path: Path) -> None:
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    words = ["eaves", "convert", "leaves.onnx", "--file", "other.yaml"]
    done = subprocess.run(words, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.splitlines()[0]) == (78, "error: other.yaml: no such file")
