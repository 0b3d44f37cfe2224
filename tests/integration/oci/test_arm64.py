"""A container image for arm64 that this machine packages, run with its real wheels on emulated CPUs.

Needs Debian's qemu-user; binfmt and root are not needed.
"""

import json
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from eaves.artifact import load_golden, open_artifact
from eaves.oci.descriptor import ImagePlatform
from eaves.oci.layers.image import Image, load_images, pick_image
from eaves.oci.layers.layer import GLIBC, TITLE
from eaves.oci.layout import open_layout
from tests.container_images.arm64 import arm64_files, emulate, find_arm64_root
from tests.container_images.packaging import build_index_base, need, run_package
from tests.processes.function import Function
from tests.waiting import wait_until

CPUS = ("cortex-a72", "cortex-a76")
"""CPUs of a Raspberry Pi 4 and 5; the second has instructions for int8 (dot product), as a Jetson Orin's has."""
PATHS = "/opt/code:/opt/eaves"
TIMEOUT_S = 300.0
REPLAY = """
import json, sys
from pathlib import Path
from eaves.artifact import load_golden, open_artifact, replay
from eaves.inference.session import open_session

artifact = open_artifact(Path(sys.argv[1]))
session = open_session(artifact)
results = [replay(artifact, session.attempt, case) for case in load_golden(artifact)]
print(json.dumps([[result.fault, result.logits, result.probabilities] for result in results]))
"""

pytestmark = [pytest.mark.slow, pytest.mark.long("programs of another CPU are emulated"), pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def layout(tiny_artifact: Path, oci_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A layout with the container image of a model for both platforms."""
    folder = tmp_path_factory.mktemp("arm64")
    files, python = arm64_files(find_arm64_root(tmp_path_factory))
    need(f"python{python}")
    build_index_base(folder / "base", files, python)
    both = ("--platform", "linux/amd64", "--platform", "linux/arm64")
    words = (tiny_artifact, "-t", f"oci:{folder}/out:v1", "--base", f"oci:{folder}/base", *both)
    run_package(oci_cache, *words)
    return folder / "out"


@pytest.fixture(scope="module")
def root(layout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of its container on arm64."""
    source, folder = open_layout(layout), tmp_path_factory.mktemp("root")
    for layer in pick_image(source, source.resolve("v1"), ImagePlatform(architecture="arm64")).layers:
        with tarfile.open(source.blob_path(layer.digest)) as tar:
            tar.extractall(folder, filter="data")
    return folder


@pytest.fixture
def function(root: Path, tiny_artifact: Path, tmp_path: Path) -> Iterator[Function]:
    # onnxruntime opens no weights through the emulator's root, so the artifact is this machine's own.
    program, command = root / "usr/bin/python", emulate(root, CPUS[0])
    started = Function(tiny_artifact, tmp_path, python=program, prefix=command, PYTHONPATH=PATHS)
    yield started
    started.process.kill()
    started.process.wait(10)


def test_an_index_has_the_wheels_of_each_platform_and_the_model_once(layout: Path):
    source = open_layout(layout)
    amd64, arm64 = load_images(source, source.resolve("v1"))
    assert (amd64.platform.architecture, arm64.platform.architecture) == ("amd64", "arm64")

    def by_title(image: Image) -> dict[str, tuple[str, str]]:
        return {
            layer.annotations[TITLE]: (layer.digest, layer.annotations.get(GLIBC, "")) for layer in image.layers[1:]
        }

    one, other = by_title(amd64), by_title(arm64)
    model = ("weights/backbone.bin", "graphs", "golden inputs", "head, labels, manifest")
    assert [one[title] for title in model] == [other[title] for title in model]
    assert one["packages"][0] != other["packages"][0]
    assert other["packages"][1].startswith("2.")
    assert int(other["packages"][1][2:]) <= int(other["standard library"][1][2:])


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_arm64_reproduces_golden_images_far_below_their_tolerance(
    root: Path, cpu: str, precision: str, request: pytest.FixtureRequest
):
    """A replica checks one of them before it is ready; that an ARM CPU rounds otherwise must not prevent it."""
    path: Path = request.getfixturevalue("tiny_int8" if precision == "int8" else "tiny_artifact")
    manifest = open_artifact(path).manifest
    assert manifest.precision == precision
    done = subprocess.run(
        [*emulate(root, cpu), root / "usr/bin/python", "-P", "-c", REPLAY, path],
        env={"PYTHONPATH": PATHS, "PYTHONDONTWRITEBYTECODE": "1", "ORT_DISABLE_TELEMETRY": "1"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    results = json.loads(done.stdout)
    assert len(results) == len(load_golden(open_artifact(path)))
    for fault, logits, probabilities in results:
        assert not fault
        assert max(logits, probabilities) < manifest.golden_tolerance / 50


def test_a_function_on_arm64_predicts(function: Function, tiny_artifact: Path):
    artifact = open_artifact(tiny_artifact)
    (case, *_) = load_golden(artifact)
    score, label = max(zip(case.outputs["probabilities"], artifact.manifest.labels, strict=True))
    wait_until(function.port, TIMEOUT_S)
    wait_until(lambda: function.request("GET", "/health/readiness")[0] == 200, TIMEOUT_S, what=f"ready: {function.log}")
    status, _, body = function.request("POST", "/", (tiny_artifact / case.file).read_bytes(), Content_Type="image/png")
    assert status == 200, body
    best = json.loads(body)["predictions"][0]
    assert (best["label"], best["score"]) == (label, pytest.approx(score, abs=1e-4))
