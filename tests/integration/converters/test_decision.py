"""From unequal classes to an event: the label is that of the weighted training, and the score that of the data."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from converters.convert import convert
from converters.settings import ConvertSettings
from eaves.artifact import Artifact, open_artifact
from eaves.events import IMAGE_CAPTURED, Event, decode, encode_binary
from eaves.inference.session import open_session
from tests.inputs.settings import settings_from
from tests.once import build_once_here
from tests.processes.function import Function, serving
from trainer.calibration import prior_correction, softmax
from trainer.run.run import Run, open_run
from trainer.settings import DataSettings, TrainSettings
from trainer.train import train

DARK, BRIGHT, SPREAD = 100, 150, 20
RARE, FREQUENT = 16, 160
GREYS = range(60, 200, 10)


def draw(grey: float, seed: int) -> bytes:
    """A noisy grey picture, PNG."""
    noise = np.random.default_rng(seed).normal(grey, 8, (16, 16, 1))
    stream = io.BytesIO()
    Image.fromarray(np.broadcast_to(noise.clip(0, 255), (16, 16, 3)).astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def build_run(root: Path) -> Path:
    """Train on many dark pictures that are good, and on a few brighter ones that are defects."""
    rng = np.random.default_rng(0)
    for label, count, grey in (("defect", RARE, BRIGHT), ("good", FREQUENT, DARK)):
        (root / "parts" / label).mkdir(parents=True)
        for number in range(count):
            (root / "parts" / label / f"{number}.png").write_bytes(draw(rng.normal(grey, SPREAD), number))
    values = {"arch": "small_cnn", "epochs": 12, "image_size": 16, "batch_size": 16, "augment": False}
    settings = settings_from(TrainSettings, values)
    run = train(DataSettings(path=root / "parts"), settings, root / "run", name="parts")
    convert(run.path, root / "artifact", ConvertSettings(precision="fp32"))
    return root


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_once_here(tmp_path_factory, "decision", build_run)


@pytest.fixture(scope="module")
def run(made: Path) -> Run:
    return open_run(made / "run")


@pytest.fixture(scope="module")
def artifact(made: Path) -> Artifact:
    return open_artifact(made / "artifact")


@pytest.fixture(scope="module")
def function(artifact: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Function]:
    with serving(artifact.path, tmp_path_factory.mktemp("function")) as started:
        yield started


@pytest.mark.long("a model is trained and converted, once on a machine")
def test_an_event_has_the_label_of_the_training_and_the_score_of_the_data(
    run: Run, artifact: Artifact, function: Function
):
    session, recipe, manifest = open_session(artifact), run.recipe, artifact.manifest
    bias = prior_correction(manifest.decision.label_weights)
    corrected = 0
    for grey in GREYS:
        data = draw(grey, grey)
        outputs = session.answer(recipe.tensor(data)[np.newaxis])
        logits, probabilities = outputs["logits"], outputs["probabilities"]
        scores = softmax(logits, manifest.temperature, bias)[0]
        best = int(np.argmax(logits))
        label = run.labels[best]
        corrected += int(np.argmax(probabilities)) != best
        cause = Event(id=str(grey), source="/a", type=IMAGE_CAPTURED, datacontenttype="image/png", data=data)
        headers, body = encode_binary(cause)
        status, answered, content = function.request("POST", "/", body, **headers)
        assert status == 200, content
        reply = decode(answered, content)
        first, second = reply.json()["predictions"]
        assert first == {"label": label, "score": pytest.approx(scores[best], abs=1e-4)}
        assert first["score"] + second["score"] == pytest.approx(1, abs=1e-4)
        assert reply.extensions["label"] == label
        assert reply.extensions["confidence"] == ("high" if first["score"] >= 0.7 else "low")
    assert corrected, "the label of some pictures isn't the one with the highest score"
