"""No process of ours reports home: no thread, no file under HOME, no address beyond this machine.

onnxruntime starts its telemetry while it is imported, unless it believes that it runs in a CI.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from eaves.artifact import Artifact
from eaves.base.telemetry import TELEMETRY_OFF
from eaves.local.client import LocalPlatform
from eaves.local.processes.process import Process
from eaves.local.state import LocalApp, LocalFunction, StateDirectory
from eaves.platform import SourceSpec, default_trigger
from tests.cli import EAVES
from tests.fakes.models.graph import save, write_graph_artifact
from tests.fakes.models.network import SIDE, Network
from tests.processes.function import Function
from tests.tracing import Trace, can_trace, count_threads
from tests.waiting import wait_until

COUNT = "import os\ndef count(): return len(os.listdir('/proc/self/task'))\n"


@pytest.fixture
def trace(tmp_path: Path) -> Trace:
    return Trace(folder=tmp_path / "traced", variables={"OPENBLAS_NUM_THREADS": "1"})


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return write_graph_artifact(tmp_path / "artifact")


@pytest.fixture
def declared(tmp_path: Path) -> Path:
    """A folder with a graph that others made, its declaration and its samples."""
    folder, random = tmp_path / "declared", np.random.default_rng(0)
    network = Network()
    last = network.add("Relu", network.conv(network.floats(("Mul", np.float32(1 / 255))), 8, 3))
    save(network.build(last), folder / "net.onnx")
    for label in ("a", "b", "c"):
        for number in range(4):
            (folder / "samples" / label).mkdir(parents=True, exist_ok=True)
            pixels = random.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "samples" / label / f"{number}.png")
    values = {"name": "net", "labels": ["a", "b", "c"], "height": SIDE, "width": SIDE, "samples": "samples"}
    (folder / "model.yaml").write_text(yaml.safe_dump({**values, "logits": "logits"}), encoding="utf-8")
    return folder


def test_the_import_starts_no_thread_and_writes_no_file(trace: Trace):
    code = f"{COUNT}import numpy\nbefore = count()\nimport eaves.inference.session\nprint(count() - before)"
    assert trace.run([sys.executable, "-P", "-c", code]).strip() == "0"
    assert trace.files() == []


@pytest.fixture
def functions(artifact: Artifact, trace: Trace, tmp_path: Path) -> Iterator[tuple[Function, Function]]:
    """A function as a platform starts it, traced; and one with CI=true, in which onnxruntime reports nothing anyway."""
    folders = [tmp_path / "outside", tmp_path / "inside"]
    for folder in folders:
        folder.mkdir()
    home = str(trace.environ["HOME"])
    outside = Function(artifact.path, folders[0], prefix=trace.prefix, HOME=home)
    inside = Function(artifact.path, folders[1], CI="true")
    yield outside, inside
    for function in (outside, inside):
        function.process.kill()
        function.process.wait()


def test_a_function_reports_nothing(functions: tuple[Function, Function], trace: Trace):
    outside, inside = functions
    for function in functions:
        function.wait_ready()
    wait_until(
        lambda: count_threads(outside.process.pid) == count_threads(inside.process.pid),
        what="as many threads outside a CI as in one",
    )
    assert outside.stop() == 0
    assert trace.files() == []
    assert trace.addresses() == set()


def test_a_child_of_the_local_platform_is_reported_before_it_imports_anything(tmp_path: Path):
    sleep = ["-n", "1", "import time; time.sleep(60)"]
    child = Process("timeit", {}, tmp_path / "logs" / "child.log", inherit={}, arguments=sleep)
    expected = {f"{name}={value}" for name, value in TELEMETRY_OFF.items()}
    seen = Path(f"/proc/{child.pid}/environ")  # empty while the child is between fork and exec
    try:
        wait_until(lambda: expected <= set(seen.read_text().split("\0")), what=f"{expected} in the child's environment")
    finally:
        child.stop(timeout_s=0)


def test_a_conversion_reports_nothing(declared: Path, trace: Trace):
    """With its children: the original answers in one, and the golden images are replayed in another."""
    words = [str(declared / "net.onnx"), "--output", str(trace.folder / "artifact"), "--precision", "int8"]
    trace.run([sys.executable, "-P", "-m", "converters", *words])
    assert trace.files() == []
    assert trace.addresses() == set()


@pytest.mark.long("processes import onnxruntime")
def test_the_local_platform_reports_nothing(artifact: Artifact, trace: Trace, tmp_path: Path):
    """With its function and its agent, while an image of a folder is predicted."""
    state, inbox = StateDirectory(root=tmp_path / "state"), tmp_path / "inbox"
    state.root.mkdir(mode=0o700)
    inbox.mkdir()
    shutil.copy(artifact.path / "golden/000.png", inbox / "a.png")
    function = LocalFunction(name="net", site="barn", artifact=artifact.path)
    source = SourceSpec(name="inbox", options={"path": str(inbox)})
    state.write_spec(LocalApp(function=function, triggers=(default_trigger("net"),), sources=(source,)))
    words = ["up", "--port", "0", "--state", str(state.root)]
    with (tmp_path / "up.log").open("wb") as log:
        up = subprocess.Popen([*trace.prefix, *EAVES, *words], env=trace.environ, stdout=log, stderr=log)
    platform = LocalPlatform(state.root)
    try:
        wait_until(platform.running, 30, what="eaves up")
        wait_until(lambda: platform.status()[0].delivered, 30, what="the prediction")
    finally:
        up.terminate()
        up.wait(60)
    assert trace.files() == []
    assert trace.addresses() == set()


LIBRARIES = (
    "PIL.Image", "boto3", "click", "cryptography.hazmat.primitives.asymmetric.ec", "deflate", "eaves.cloudevents_sdk",
    "flask", "fsspec", "jinja2", "kubernetes", "numpy", "onnx", "rich.progress", "urllib3", "waitress",
    "watchdog.observers", "yaml",
)  # fmt: skip
"""Those that are imported within seconds; TensorFlow, Keras, tf2onnx and s3fs are in docs/container-images.md."""


def test_the_other_libraries_report_nothing_while_they_are_imported(trace: Trace):
    code = f"import importlib\nfor name in {LIBRARIES!r}: importlib.import_module(name)\n{COUNT}print(count())"
    assert trace.run([sys.executable, "-P", "-c", code]).strip() == "1"
    assert trace.files() == []
    assert trace.addresses() == set()


def test_network_calls_are_traced(trace: Trace):
    """The tracer sees an address beyond this machine, so its silence above means something."""
    if not can_trace():
        pytest.skip("strace isn't installed or may not trace: no connect() was looked at, only threads and files")
    code = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('192.0.2.1', 9))"
    trace.run([sys.executable, "-P", "-c", code])
    assert trace.addresses() == {"192.0.2.1"}
