"""Every example's README, typed as it stands there, in a copy of its folder with a tiny model."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from onnx import TensorProto, helper

from eaves.artifact import TensorSpec
from eaves.artifact.store import MODEL
from tests.fakes.models.artifact import COLOURS, encode_png
from tests.fakes.models.graph import build_graph, save, write_graph_artifact

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
UP = "eaves up --port 0 > up.log 2>&1 & until grep -qs http up.log; do sleep 0.05; done"


def write_photos(folder: Path) -> None:
    (folder / "photos").mkdir()
    for label, colour in COLOURS.items():
        (folder / f"photos/{label}.png").write_bytes(encode_png(colour))


def put_classifier(folder: Path) -> None:
    write_photos(folder)
    write_graph_artifact(folder / "artifacts/colours")


def put_embedder(folder: Path) -> None:
    """The colour model, its mean as features; of three photos two are alike."""
    write_photos(folder)
    (folder / "photos/blue.png").write_bytes(encode_png((230, 40, 30)))
    (folder / "artifacts").mkdir()

    def change(at: Path) -> None:
        model = build_graph()
        model.graph.node.append(helper.make_node("Identity", ["mean"], ["features"]))
        model.graph.output.append(helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 3]))
        save(model, at / MODEL)

    outputs = (
        TensorSpec(name="features", shape=(-1, 3)),
        *(TensorSpec(name=name, shape=(-1, 3)) for name in ("logits", "probabilities")),
    )
    write_graph_artifact(folder / "artifacts/colours", change=change, task="embed", outputs=outputs)


def put_frames(folder: Path) -> None:
    """The colour model as an ONNX file, and frames from the coldest to the hottest."""
    (folder / "frames").mkdir()
    save(build_graph(location=""), folder / "model/colours.onnx")
    for label, kelvin in (("blue", 27_500), ("green", 32_300), ("red", 37_000)):
        frame = np.full((8, 8), kelvin, "<u2").tobytes()
        (folder / f"frames/{label}.raw").write_bytes(frame)
        (folder / "model/samples" / label).mkdir(parents=True)
        (folder / "model/samples" / label / "0.raw").write_bytes(frame)
    declared = {"name": "frames", "labels": sorted(COLOURS), "height": 8, "width": 8, "samples": "samples"}
    (folder / "model/model.yaml").write_text(yaml.safe_dump(declared))


def run(name: str, folder: Path) -> str:
    """Run the README's block; what it printed."""
    (block,) = re.findall(r"```bash\n(.*?)```", (EXAMPLES / name / "README.md").read_text(), flags=re.DOTALL)
    assert "eaves up &" in block
    script = "set -eu\ntrap 'kill %1; wait' EXIT\n" + block.replace("eaves up &", UP)
    environ = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(["bash", "-c", script], cwd=folder, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def last_json(output: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(output[output.rindex("\n[") :])
    return found


@pytest.fixture
def copy(tmp_path: Path) -> Callable[[str], Path]:
    def make(name: str) -> Path:
        return Path(shutil.copytree(EXAMPLES / name, tmp_path / name))

    return make


def test_classify(copy: Callable[[str], Path]) -> None:
    folder = copy("classify")
    put_classifier(folder)
    output = run("classify", folder)
    assert re.search(r"photos/green.png\s+green\s+\S+\s+high", output)
    (answer,) = last_json(output)
    assert [entry["label"] for entry in answer["event"]["data"]["predictions"]] == ["red"]  # type: ignore[index]


def test_embed(copy: Callable[[str], Path]) -> None:
    folder = copy("embed")
    put_embedder(folder)
    output = run("embed", folder)
    assert re.search(r"photos/blue.png is like photos/red.png \(0\.99\d\)", output)


def test_handler(copy: Callable[[str], Path]) -> None:
    folder = copy("handler")
    put_frames(folder)
    output = run("handler", folder)
    assert re.search(r"frames/blue.raw\s+cold", output)
    assert re.search(r"frames/red.raw\s+hot\s+high", output)


@pytest.mark.timeout(240)
def test_tensor(copy: Callable[[str], Path]) -> None:
    output = run("tensor", copy("tensor"))
    (accuracy,) = re.findall(r"accuracy on unseen windows: (\S+)", output)
    assert float(accuracy) > 0.9
    (answer,) = last_json(output)
    assert answer["label"] in {"fair", "good", "poor"}
    assert len(answer["event"]["data"]["outputs"]["level"]) == 3  # type: ignore[index]
