"""`eaves verify` and `eaves deploy` over real graphs and real handlers: what they run, and what they never run."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eaves.artifact import Artifact, open_artifact
from eaves.artifact.golden import INDEX
from eaves.artifact.manifest import OUTPUTS
from eaves.artifact.store import HANDLER, MODEL
from eaves.errors import ArtifactError, EavesError, GoldenError, HandlerError
from eaves.inference.handler import load_handler
from eaves.inference.prepared_graphs import MIN_BYTES, detect_layout, graph_name
from eaves.inference.replay import replay_in_child
from tests.cli import eaves
from tests.fakes.models.artifact import COLOURS, RECIPE
from tests.fakes.models.graph import write_graph_artifact
from tests.processes.commands import run_code
from tests.waiting import wait_until

HANDLER_SOURCE = """
import io
import numpy as np
from PIL import Image

print("a handler may print")

def preprocess(data):
    image = Image.open(io.BytesIO(data)).convert("RGB").resize((8, 8))
    return np.asarray(image, dtype=np.uint8)
"""


def with_handler(source: str) -> Callable[[Path], None]:
    """A change of a staging directory: handler.py, and the tensors of the goldens stored."""

    def change(at: Path) -> None:
        (at / HANDLER).write_text(source)
        entries = json.loads((at / INDEX).read_text())
        for entry in entries:
            entry["tensor"] = entry["file"].replace(".png", ".npy")
            np.save(at / entry["tensor"], RECIPE.tensor((at / entry["file"]).read_bytes()))
        (at / INDEX).write_text(json.dumps(entries))

    return change


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return write_graph_artifact(tmp_path / "artifact")


def test_what_is_whole_is_verified_and_shown(artifact: Artifact):
    result = eaves("verify", artifact.path)
    assert result.exit_code == 0
    rows = [line.split() for line in result.stdout.splitlines() if "golden/" in line]
    assert [row[:2] for row in rows] == [[f"golden/00{number}.png", label] for number, label in enumerate(COLOURS)]
    assert all(row[-1] == "yes" for row in rows)
    verdict = json.loads(eaves("verify", artifact.path, "-o", "json").stdout)
    assert (verdict["ok"], verdict["digest"], verdict["handler"]) == (True, f"sha256:{artifact.digest}", "none")
    assert all(case["logits"] < 1e-4 and case["probabilities"] < 1e-4 for case in verdict["cases"])
    assert "verified: 7 digests are right, 3 golden images are reproduced" in result.stderr


def change_golden(key: str, value: Any) -> Callable[[Path], None]:
    def change(at: Path) -> None:
        entries = json.loads((at / INDEX).read_text())
        (entries[1]["outputs"] if key in OUTPUTS else entries[1])[key] = value
        (at / INDEX).write_text(json.dumps(entries))

    return change


FAULTS = {
    "logits": (change_golden("logits", [0, 0, 0]), "golden/001.png: logits differ by"),
    "input": (
        change_golden("tensor_sha256", "0" * 64),
        "golden/001.png: this machine decodes it to another input tensor",
    ),
    "number": (change_golden("logits", [0, 0]), "golden/001.png: the number of logits differs"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_what_differs_is_named_and_the_other_cases_are_still_shown(tmp_path: Path, case: str):
    change, message = FAULTS[case]
    path = write_graph_artifact(tmp_path / "a", change=change).path
    result = eaves("verify", path)
    assert isinstance(result.exception, GoldenError)
    assert message in result.exception.message
    assert [line.split()[-1] for line in result.stdout.splitlines() if "golden/" in line] == [
        *("yes", "no", "yes"),
    ]
    cases = json.loads(eaves("verify", path, "-o", "json").stdout)["cases"]
    assert [entry["ok"] for entry in cases] == [True, False, True]


def test_a_handler_is_not_imported_unless_asked_for(tmp_path: Path):
    trap = f"import pathlib\npathlib.Path({str(tmp_path / 'sprung')!r}).touch()\nimport sys\nsys.exit(3)\n"
    path = write_graph_artifact(tmp_path / "a", change=with_handler(trap)).path
    before = set(sys.modules)
    result = eaves("verify", path)
    assert (result.exit_code, (tmp_path / "sprung").exists()) == (0, False)
    assert "handler.py was not run" in result.stderr
    assert not [name for name in set(sys.modules) - before if "handler_" in name]
    failed = eaves("verify", path, "--run-handler").exception
    assert isinstance(failed, HandlerError)
    assert "SystemExit: 3 (line 4)" in failed.message
    assert (tmp_path / "sprung").exists()


def test_a_good_handler_reproduces_the_goldens_from_encoded_bytes(tmp_path: Path):
    artifact = write_graph_artifact(tmp_path / "a", change=with_handler(HANDLER_SOURCE))
    before = set(sys.modules)
    result = eaves("verify", artifact.path, "--run-handler", "-o", "json")
    verdict = json.loads(result.stdout)
    assert (verdict["ok"], verdict["handler"], len(verdict["cases"])) == (True, "run", 3)
    open_artifact(artifact.path, level="full")  # no __pycache__ was left behind
    assert not [name for name in set(sys.modules) - before if name.startswith("eaves_handler_")]


BAD_HANDLERS = {
    "an import": ("import no_such_module\n", r"can't be loaded: ModuleNotFoundError: No module named 'no_such_module'"),
    "a failure": ("def preprocess(data):\n    return {}['x']\n", r"preprocess failed: KeyError: 'x' \(line 2\)"),
    "another shape": ("import numpy\ndef preprocess(data): return numpy.zeros((9, 8, 3), 'uint8')\n", r"\(9, 8, 3\)"),
    "the end": ("import os\ndef preprocess(data): os._exit(0)\n", r"ended the process"),
}


@pytest.mark.parametrize("case", BAD_HANDLERS)
def test_a_handlers_fault_is_its_own_error(tmp_path: Path, case: str):
    source, message = BAD_HANDLERS[case]
    artifact = write_graph_artifact(tmp_path / "a", change=with_handler(source))
    with pytest.raises(HandlerError, match=message) as caught:
        replay_in_child(artifact, run_handler=True)
    assert (caught.value.exit_code, caught.value.http_status) == (70, 500)


SAY = """
import json, os

def say(text):
    for handle in range(3, 64):  # whichever is the one that is listened to
        try:
            os.write(handle, text)
        except OSError:
            pass
    os._exit(0)
"""
GOOD = {"label": "", "logits": 0, "probabilities": 0, "allowed_logits": 1, "allowed_probabilities": 1, "fault": ""}
FORGED = {
    "no result at all": "",
    "results of other images": "\n".join(
        json.dumps({"result": {**GOOD, "file": f"golden/{number}.png", "hint": "", "graph": "model.onnx"}})
        for number in range(3)
    ),
}


@pytest.mark.parametrize("case", FORGED)
def test_what_a_handler_says_in_the_childs_name_is_no_proof(tmp_path: Path, case: str):
    source = f"{SAY}say({FORGED[case].encode()!r} + b'\\n')\n"
    path = write_graph_artifact(tmp_path / "a", change=with_handler(source)).path
    error = eaves("verify", path, "--run-handler").exception
    assert isinstance(error, HandlerError)
    heard = 3 if case == "results of other images" else 0
    assert f"ended the process that replays the golden images after {heard} of 3" in error.message


def test_what_a_handler_says_is_bounded(tmp_path: Path):
    source = f"{SAY}while True: os.write(HANDLE, b'x' * 65536)\n".replace("HANDLE", "next_handle()")
    source = source.replace(
        "while True",
        "def next_handle():\n"
        "    import stat\n"
        "    return next(h for h in range(3, 64) if os.path.exists(f'/proc/self/fd/{h}')"
        " and stat.S_ISFIFO(os.fstat(h).st_mode))\n"
        "while True",
    )
    artifact = write_graph_artifact(tmp_path / "a", change=with_handler(source))
    with pytest.raises(HandlerError, match="ended the process that replays the golden images after 0 of 3"):
        replay_in_child(artifact, run_handler=True, timeout_s=60)


def test_what_a_handler_started_ends_with_it(tmp_path: Path):
    source = (
        "import pathlib, subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(child.pid))\n"
        "while True: pass\n"
    )
    artifact = write_graph_artifact(tmp_path / "a", change=with_handler(source))
    with pytest.raises(HandlerError, match="took longer"):
        replay_in_child(artifact, run_handler=True, timeout_s=4)
    started = Path("/proc") / (tmp_path / "pid").read_text() / "stat"
    wait_until(lambda: not started.exists() or started.read_text().split()[2] == "Z", 10, what="the end of it")


def test_commands_never_run_a_graph_in_their_own_process(artifact: Artifact):
    code = (
        "import sys, onnxruntime\nfrom eaves.cli import cli\n"
        "onnxruntime.InferenceSession = lambda *args, **options: sys.exit('a graph was loaded')\n"
        f"cli(['verify', {str(artifact.path)!r}])"
    )
    done = run_code(code)
    assert "3 golden images are reproduced" in done.stderr


def test_a_handler_that_was_exchanged_is_never_run(tmp_path: Path):
    artifact = write_graph_artifact(tmp_path / "a", change=with_handler(HANDLER_SOURCE))
    (artifact.path / HANDLER).write_text("raise SystemExit('ran')\n")
    with pytest.raises(ArtifactError, match="doesn't match its sha256"):
        load_handler(artifact)


def test_deploy_replays_every_golden(tmp_path: Path):
    assert eaves("init", tmp_path, "--name", "colours").exit_code == 0
    options: list[str | Path] = ["--file", tmp_path / "eaves.yaml", "--state", tmp_path / "state"]
    good = write_graph_artifact(tmp_path / "good")
    assert eaves("deploy", good.path, *options).stdout == "colours\n"
    bad = write_graph_artifact(tmp_path / "bad", change=FAULTS["logits"][0])
    error = eaves("deploy", bad.path, *options).exception
    assert isinstance(error, GoldenError)
    assert "golden/001.png" in error.message


def test_deploy_prepares_the_graph_for_this_machine(tmp_path: Path):
    def enlarge(staging: Path) -> None:
        with (staging / "weights/backbone.bin").open("ab") as stream:
            stream.truncate(MIN_BYTES)

    assert eaves("init", tmp_path, "--name", "colours").exit_code == 0
    options: list[str | Path] = ["--file", tmp_path / "eaves.yaml", "--state", tmp_path / "state"]
    artifact = write_graph_artifact(tmp_path / "large", change=enlarge)
    name = graph_name(artifact, detect_layout())
    if name is None:
        pytest.skip("onnxruntime has no layout in blocks for this CPU")
    graphs = tmp_path / "state/graphs"
    graphs.parent.mkdir()
    graphs.touch()
    failed = eaves("deploy", artifact.path, *options)
    assert failed.stdout == "colours\n"
    assert "the function starts without a prepared graph, which takes longer" in failed.stderr
    graphs.unlink()
    assert "warning" not in eaves("deploy", artifact.path, *options).stderr
    assert (graphs / name / MODEL).is_file()


def test_an_int8_model_that_this_cpu_can_not_reproduce_is_distinguished(tmp_path: Path):
    def manifest(at: Artifact) -> dict[str, Any]:
        return {"precision": "int8", "quantisation": replace(at.manifest.quantisation, shipped=True)}

    plain = write_graph_artifact(tmp_path / "plain")
    int8 = write_graph_artifact(tmp_path / "a", change=FAULTS["logits"][0], **manifest(plain))
    error = eaves("verify", int8.path).exception
    assert isinstance(error, EavesError)
    assert "convert with precision fp32" in (error.hint or "")
