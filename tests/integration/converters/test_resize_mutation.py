"""One line of the decoding or resizing changed, in a copy of the code, on either side: the proof turns red.

The side that answers for training is the conversion's child process, the side that serves replays the golden images;
each runs once as it is and once from the changed copy, against the other as it is.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml
from PIL import Image

import eaves
from converters.convert import convert
from converters.model_source import ModelSource, open_source
from converters.proof import ParityTolerance, prove_parity, run_reference
from converters.settings import ConvertSettings
from eaves.artifact import Artifact
from eaves.errors import ParityError
from eaves.inference.session import open_session
from tests.fakes.models.network import SIDE, Network

ROOT = Path(eaves.__file__).parents[1]
PACKAGES = ("eaves", "converters", "functions", "trainer")
DEMAND = ParityTolerance(probabilities=1e-3, logits=1e-3)
REPLAY = """
import sys
from pathlib import Path
from eaves.artifact import check, open_artifact
from eaves.inference.session import open_session
artifact = open_artifact(Path(sys.argv[1]), level="full")
print(check(artifact, open_session(artifact).answer))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """One line of a file, and what becomes of it."""

    file: str
    line: str
    changed: str


MUTATIONS = {
    "a faster resize": Mutation(
        file="eaves/recipe.py",
        line="return image.resize(size, method)",
        changed="return image.resize(size, method, reducing_gap=2.0)",
    ),
    "a JPEG decoded at another scale": Mutation(
        file="eaves/images/decoder.py",
        line="side = max(at_least)",
        changed="side = 2 * max(at_least)",
    ),
}


@pytest.fixture(scope="module")
def declared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of others with photos of noise, much larger than its input; returns the folder."""
    folder, random = tmp_path_factory.mktemp("declared"), np.random.default_rng(0)
    network = Network()
    last = network.add("Relu", network.conv(network.floats(("Mul", np.float32(1 / 255))), 8, 3))
    onnx.save(network.build(last), str(folder / "net.onnx"))
    for label, form in (("a", "jpg"), ("b", "jpg"), ("c", "png")):
        (folder / "samples" / label).mkdir(parents=True)
        pixels = random.integers(0, 256, (72, 96, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "samples" / label / f"photo.{form}")
    values = {"name": "net", "labels": ["a", "b", "c"], "height": SIDE, "width": SIDE, "samples": "samples"}
    (folder / "model.yaml").write_text(yaml.safe_dump({**values, "logits": "logits"}), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def artifact(declared: Path) -> Artifact:
    return convert(declared / "net.onnx", declared / "artifact", ConvertSettings(precision="fp32"))


@pytest.fixture
def mutate(tmp_path: Path) -> Callable[[Mutation | None], Path]:
    """A copy of the code with one line changed, or none; returns its root."""

    def copy(mutation: Mutation | None) -> Path:
        for package in PACKAGES:
            shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
        if mutation is not None:
            text = (tmp_path / mutation.file).read_text(encoding="utf-8")
            assert text.count(mutation.line) == 1, "the line isn't there any more: change this test"
            (tmp_path / mutation.file).write_text(text.replace(mutation.line, mutation.changed), encoding="utf-8")
        return tmp_path

    return copy


def prove_against(source: ModelSource, artifact: Artifact, code: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The truth by the code at a path, the session by ours."""
    monkeypatch.setenv("PYTHONPATH", str(code))
    images = [sample.path for sample in source.samples]
    truth = run_reference(source, images, timeout_s=60)
    assert prove_parity(open_session(artifact), source.recipe, images, truth, DEMAND).passed


def replay_with(artifact: Artifact, code: Path) -> subprocess.CompletedProcess[str]:
    """Replay the golden images in a process that serves by the code at a path."""
    return subprocess.run(
        [sys.executable, "-P", "-c", REPLAY, str(artifact.path)],
        env={**os.environ, "PYTHONPATH": str(code)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_copy_of_the_code_proves_as_the_code_does(
    declared: Path, artifact: Artifact, mutate: Callable[[Mutation | None], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    code = mutate(None)
    done = replay_with(artifact, code)
    assert (done.returncode, done.stdout) == (0, "3\n"), done.stderr
    prove_against(open_source(declared / "net.onnx"), artifact, code, monkeypatch)


@pytest.mark.parametrize("case", MUTATIONS)
def test_a_changed_line_is_noticed_where_training_answers_and_where_it_is_served(
    declared: Path,
    artifact: Artifact,
    mutate: Callable[[Mutation | None], Path],
    monkeypatch: pytest.MonkeyPatch,
    case: str,
) -> None:
    code = mutate(MUTATIONS[case])
    done = replay_with(artifact, code)
    assert done.returncode != 0
    assert re.search(r"GoldenError: golden image \S+: this machine decodes it to another input tensor", done.stderr)
    with pytest.raises(ParityError, match="training and serving make different input tensors"):
        prove_against(open_source(declared / "net.onnx"), artifact, code, monkeypatch)
