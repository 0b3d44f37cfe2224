"""Every route into an artifact, with real small models; and what stops a child process."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper

from converters.convert import convert
from converters.model_source import open_source
from converters.onnx.graph import prepare
from converters.proof import run_child
from converters.settings import ConvertSettings
from converters.tensorflow_export import export_tensorflow, open_signature
from eaves.artifact import Artifact, open_artifact
from eaves.errors import ConversionError
from eaves.inference.session import open_session
from tests.once import build_once_here
from tests.proc import is_running
from tests.processes.commands import run_command
from tests.waiting import wait_until
from trainer.run.run import open_run

FP32 = ConvertSettings(precision="fp32")


def declare(folder: Path, run: Path, **changes: Any) -> Path:
    """A declaration with the run's own images and recipe, beside the model."""
    opened = open_run(run)
    for sample in opened.samples():
        (folder / "samples" / sample.label).mkdir(parents=True, exist_ok=True)
        (folder / "samples" / sample.label / sample.path.name).write_bytes(sample.path.read_bytes())
    values = {"name": "foreign", "labels": list(opened.labels), "height": 16, "width": 16, "samples": "samples"}
    (folder / "declared.yaml").write_text(yaml.safe_dump({**values, **changes}), encoding="utf-8")
    return folder / "declared.yaml"


def logits(artifact: Artifact) -> Any:
    batch = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    return open_session(artifact).answer(batch)["logits"]


def convert_keras_file(run: Path, root: Path) -> Path:
    declaration = declare(root, run)
    return convert(run / "model.keras", root / "artifact", FP32, declaration=declaration).path


@pytest.mark.long("a model is trained and converted, once on a machine")
def test_a_keras_file_converts_as_if_others_had_made_it(
    tiny_artifact: Path, tiny_run: Path, tmp_path_factory: pytest.TempPathFactory
):
    made = build_once_here(tmp_path_factory, "keras", lambda root: convert_keras_file(tiny_run, root), tiny_run)
    artifact = open_artifact(made)
    assert np.allclose(logits(artifact), logits(open_artifact(tiny_artifact)), atol=1e-5)
    assert artifact.manifest.parity.max_abs_error < 1e-4
    assert artifact.manifest.version == f"0-{artifact.manifest.source.digest[:8]}"


def build_torch_like(path: Path, *, batch: str | int = "batch", flat: int = -1, opset: int = 13, ir: int = 7) -> Path:
    """What PyTorch writes: NCHW floats, normalised by ImageNet's mean and deviation, logits only, an old opset.

    Before IR version 4, which it wrote until 2019, weights are inputs too.
    """
    rng = np.random.default_rng(0)
    weights: dict[str, Any] = {
        "conv.weight": rng.normal(size=(8, 3, 3, 3)).astype(np.float32) / 5,
        "fc.weight": rng.normal(size=(4, 8)).astype(np.float32),
        "fc.bias": rng.normal(size=4).astype(np.float32),
        "shape": np.array([flat, 8], np.int64),
    }
    nodes = [
        helper.make_node("Conv", ["input.1", "conv.weight"], ["a"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("GlobalAveragePool", ["b"], ["c"]),
        helper.make_node("Reshape", ["c", "shape"], ["d"]),
        helper.make_node("Gemm", ["d", "fc.weight", "fc.bias"], ["191"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "torch_jit",
        [
            helper.make_tensor_value_info("input.1", TensorProto.FLOAT, [batch, 3, 16, 16]),
            *(
                helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
                for name, value in weights.items()
                if ir < 4
            ),
        ],
        [helper.make_tensor_value_info("191", TensorProto.FLOAT, [batch, 4])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)
    path.write_bytes(model.SerializeToString())
    return path


IMAGENET = {
    "layout": "NCHW",
    "multiply": [1 / (255 * deviation) for deviation in (0.229, 0.224, 0.225)],
    "add": [-mean / deviation for mean, deviation in ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))],
    "logits": "191",
}


@pytest.mark.parametrize(("batch", "opset", "ir"), [("batch", 13, 7), (1, 9, 3)])
def test_a_graph_as_pytorch_writes_it_converts(tiny_run: Path, tmp_path: Path, batch: str | int, opset: int, ir: int):
    """A batch of 1 in the file becomes any, when nothing in the graph holds on to it."""
    path = build_torch_like(tmp_path / "net.onnx", batch=batch, opset=opset, ir=ir)
    artifact = convert(
        path, tmp_path / "artifact", ConvertSettings(), declaration=declare(tmp_path, tiny_run, **IMAGENET)
    )
    assert logits(artifact).shape == (3, 4)
    assert (artifact.manifest.opset, artifact.manifest.input.shape) == (opset, (-1, 16, 16, 3))
    again = convert(path, tmp_path / "again", ConvertSettings(), declaration=declare(tmp_path, tiny_run, **IMAGENET))
    assert again.digest == artifact.digest


def test_a_batch_size_that_the_graph_holds_on_to_is_that_of_a_function(tiny_run: Path, tmp_path: Path):
    """It predicts one image at a time."""
    path = build_torch_like(tmp_path / "net.onnx", batch=1, flat=1)
    declaration = declare(tmp_path, tiny_run, **IMAGENET)
    artifact = convert(path, tmp_path / "artifact", ConvertSettings(precision="fp32"), declaration=declaration)
    assert artifact.manifest.parity.passed


@pytest.mark.long("a model is trained and converted")
def test_a_keras_file_that_holds_code_is_refused(tiny_run: Path, tmp_path: Path):
    import keras

    layers = [keras.layers.Lambda(lambda x: x / 2), keras.layers.Flatten(), keras.layers.Dense(4)]
    keras.Sequential([keras.Input((16, 16, 3)), *layers]).save(tmp_path / "lambda.keras")
    source = open_source(tmp_path / "lambda.keras", declare(tmp_path, tiny_run, logits="y"))
    with pytest.raises(ConversionError, match=r"holds Python code \(a Lambda\)") as caught:
        export_tensorflow({**source.job(), "opset": 17, "exported": str(tmp_path / "out.onnx")})
    assert caught.value.hint is not None
    assert "model.export" in caught.value.hint


def save_gathering(path: Path) -> Path:
    """A SavedModel that gathers from a variable, with a signature and names of its own."""
    import tensorflow as tf

    net = tf.Module()
    net.kernel = tf.Variable(tf.random.stateless_normal((3, 5000), (1, 2)))
    net.head = tf.Variable(tf.random.stateless_normal((5000, 4), (3, 4)) / 50)

    def score(picture: Any) -> dict[str, Any]:
        kernel = tf.gather(net.kernel, [0, 1, 2])
        return {"scores": tf.reduce_mean(picture, axis=[1, 2]) @ kernel @ net.head}

    spec = tf.TensorSpec((None, 16, 16, 3), tf.float32, name="picture")
    tf.saved_model.save(net, str(path), signatures={"score": tf.function(score, input_signature=[spec])})
    return path


def convert_gathering(run: Path, root: Path) -> Path:
    """Convert a SavedModel; returns `root`, with the model, its declaration and its artifact."""
    declaration = declare(root, run, signature="score", logits="scores", multiply=0.01)
    convert(save_gathering(root / "net"), root / "artifact", FP32, declaration=declaration)
    return root


@pytest.mark.long("a model is converted, once on a machine")
def test_a_signature_of_its_own_converts(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory):
    made = build_once_here(tmp_path_factory, "signature", lambda root: convert_gathering(tiny_run, root), tiny_run)
    assert logits(open_artifact(made / "artifact")).shape == (3, 4)
    source = open_source(made / "net", made / "declared.yaml")
    with pytest.raises(ConversionError, match="no signature serving_default; it has score"):
        open_signature(replace(source, signature="serving_default").job())


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A child that does what its job says."""
    text = (
        "import os, sys, time\nfrom eaves.inference.child_process import run_child_main\n"
        "def work(job):\n    print('last words', file=sys.stderr, flush=True)\n"
        "    for code in job['codes']:\n        exec(code)\n        yield {}\n"
        "run_child_main(work)\n"
    )
    (tmp_path / "obedient_child.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    return "obedient_child"


def run(module: str, *codes: str, timeout_s: float = 60, on_first: Callable[[], object] = lambda: None) -> None:
    steps = {"it": on_first, "then it": lambda: None} if len(codes) > 1 else {"it": on_first}
    run_child(module, {"codes": codes}, steps=steps, timeout_s=timeout_s)


def test_a_childs_end_is_reported(module: str):
    with pytest.raises(ConversionError, match="it was killed by signal 11; the end of its output:\nlast words"):
        run(module, "os.kill(os.getpid(), 11)")
    with pytest.raises(ConversionError, match=r"it failed with exit code 1; the end of its output:\n[\s\S]*KeyError"):
        run(module, "{}['x']")
    with pytest.raises(ConversionError, match="no such layer") as caught:
        run(module, "from eaves.errors import ConversionError; raise ConversionError('no such layer', hint='H')")
    assert caught.value.hint == "H"
    with pytest.raises(ConversionError, match=r"it was stopped: it took longer than convert\.timeout_s \(1 s\)"):
        run(module, "time.sleep(20)", timeout_s=1)
    with pytest.raises(ConversionError, match=r"^then it was killed by signal 11"):
        run(module, "pass", "os.kill(os.getpid(), 11)")
    run(module, "pass", "pass")


def test_what_is_wrong_with_an_export_is_said_before_the_original_fails_for_it(module: str):
    def refuse() -> None:
        raise ConversionError("the declaration names no output")

    for then in ("{}['x']", "time.sleep(60)"):
        with pytest.raises(ConversionError, match="the declaration names no output"):
            run(module, "pass", then, on_first=refuse)


def test_a_child_dies_with_its_parent(module: str, tmp_path: Path):
    """Even a parent that is killed leaves none behind."""
    code = f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    parent = (
        "from converters.proof import run_child\n"
        f"run_child({module!r}, {{'codes': [{code!r}]}}, steps={{'it': lambda: None}}, timeout_s=60)"
    )
    with subprocess.Popen([sys.executable, "-c", parent]) as process:
        wait_until(lambda: (tmp_path / "pid").is_file() and (tmp_path / "pid").read_text() != "")
        pid = int((tmp_path / "pid").read_text())
        process.send_signal(signal.SIGKILL)
    wait_until(lambda: not is_running(pid))


@pytest.mark.long("two large networks")
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("arch", ["inception_v3"])
def test_a_large_model_converts_in_less_memory_than_training_took(tiny_run: Path, tmp_path: Path, arch: str):
    """1.7 GB, of which TensorFlow itself is half; 6 GB with the optimizers of tf2onnx."""
    subprocess.run([sys.executable, "-c", FRESH, arch, str(tmp_path / "model")], check=True, capture_output=True)
    declared = declare(tmp_path, tiny_run, labels=["0", "1", "2", "3", "4"], logits="logits", height=299, width=299)
    # Linux counts a parent's memory for its child: this process has more than the one that is measured here.
    code = f"""
import resource
from pathlib import Path
from converters.convert import export
from converters.model_source import open_source
from converters.settings import ConvertSettings
source = open_source(Path({str(tmp_path / "model")!r}), Path({str(declared)!r}))
samples = [sample.path for sample in source.samples]
export(source, Path({str(tmp_path / "out.onnx")!r}), ConvertSettings(), samples)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
"""
    done = run_command([sys.executable, "-c", code], check=True)
    assert int(done.stdout) < 2.2e9
    operators = Counter(node.op_type for node in prepare(tmp_path / "out.onnx", split=True).graph.node)
    assert operators["Transpose"] == 1
    assert operators["BatchNormalization"] == 0


FRESH = """
import sys
from pathlib import Path
from eaves.config import SettingsLayer, build
from trainer.model.keras_model import build_model, save_saved_model
from trainer.settings import TrainSettings
values = {"arch": sys.argv[1], "weights": "none", "scale": "unit", "image_size": 299}
settings = build(TrainSettings, SettingsLayer(origin="test", values=values))
save_saved_model(build_model(settings, 5), Path(sys.argv[2]))
"""
