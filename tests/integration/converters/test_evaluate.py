"""`eaves evaluate` and `eaves compare`, typed: on a real run and its artifact."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from PIL import Image

from converters.evaluation.audit import count_pairs, judge_by_audit
from converters.evaluation.metrics import Evaluation
from converters.evaluation.models import ImagePrediction
from eaves.artifact.store import file_digest
from eaves.dataset_folder import is_audit
from eaves.labels import LabelBook
from eaves.rollout import AuditCounts
from tests.cli import eaves
from tests.inputs.artifacts import build_tiny_dataset
from trainer.data.listing import LabelledImage
from trainer.progress import SILENT
from trainer.run.run import load_trained_on, open_run
from trainer.storage import open_store


def read(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_dataset(tmp_path_factory.mktemp("digits"))


def test_a_run_is_measured_on_what_it_was_not_trained_on(tiny_run: Path, digits: Path):
    reported = read(eaves("evaluate", tiny_run, digits, "-o", "json"))
    (model,) = reported["models"]
    run = open_run(tiny_run)
    assert reported["trained_on_left_out"] == len(load_trained_on(tiny_run)) > 0
    assert model["images"] == run.metrics()["val_images"]
    assert model["accuracy"] == run.val_accuracy
    assert model["confusion"] == run.metrics()["confusion"]
    assert model["time_ms"]["median"] > 0


def test_an_artifact_answers_as_its_run(tiny_run: Path, tiny_artifact: Path, digits: Path):
    reported = read(eaves("compare", tiny_run, tiny_artifact, digits, "-o", "json"))
    assert [model["kind"] for model in reported["models"]] == ["run", "artifact"]
    assert reported["pairing"]["differing"] == []
    assert reported["pairing"]["images"] == reported["models"][0]["images"]
    assert reported["trained_on_notes"] == []


def test_an_artifact_alone_sees_all_images_unless_a_run_is_named(tiny_run: Path, tiny_artifact: Path, digits: Path):
    everything = read(eaves("evaluate", tiny_artifact, digits, "-o", "json"))
    assert everything["models"][0]["images"] == 72
    held_out = read(eaves("evaluate", tiny_artifact, digits, "--held-out-of", tiny_run, "-o", "json"))
    assert held_out["models"][0]["images"] == open_run(tiny_run).metrics()["val_images"]


def test_the_audit_sample_alone_judges_and_a_class_that_the_model_lacks_is_a_mistake(
    tiny_run: Path, tiny_artifact: Path, digits: Path, tmp_path: Path
):
    folder = shutil.copytree(digits, tmp_path / "digits")
    book = LabelBook(folder)
    for number, photo in enumerate(book.photos()[:6]):
        file = book.add_photo("photo.png", (folder / photo.file).read_bytes(), audit=True)
        book.put({file: photo.label if number else "new class"}, who="ann")
    book.add_photo("unlabelled.png", (folder / book.photos()[-1].file).read_bytes(), audit=True)
    (model,) = read(eaves("evaluate", tiny_artifact, folder, "--audit", "-o", "json"))["models"]
    assert (model["images"], model["figure"]["images"]) == (6, 6)
    assert any(one["label"] == "new class" for one in model["mistakes"])
    runs = open_store(tmp_path / "none")
    result = judge_by_audit([tiny_artifact, tiny_artifact], folder, runs, progress=SILENT)
    assert result.text.startswith("right on 5 of 6 audit images (")
    assert result.counts == AuditCounts(images=6)
    trained_on = set(load_trained_on(tiny_run))
    held_out = [one for one in book.photos() if is_audit(one.file) and one.label]
    held_out = [one for one in held_out if file_digest(folder / one.file) not in trained_on]
    result = judge_by_audit([tiny_artifact], folder, open_store(tiny_run.parent), progress=SILENT)
    assert f" of {len(held_out)} audit images" in result.text, "the model was trained on the others"
    found = read(eaves("evaluate", tiny_artifact, folder, "--audit", "--held-out-of", tiny_run, "-o", "json"))
    assert (found["models"][0]["images"], found["trained_on_left_out"]) == (len(held_out), 6 - len(held_out))
    assert 0 < len(held_out) < 6
    assert "no labelled photos of an audit sample" in str(eaves("evaluate", tiny_artifact, digits, "--audit").exception)


def test_photos_of_one_group_count_as_one_that_tells_two_models_apart():
    images = [
        LabelledImage(path=Path(name), label="a", digest=name, group=name[0]) for name in ("x1", "x2", "x3", "y1")
    ]

    def answer(*labels: str) -> Evaluation:
        answers = tuple(ImagePrediction(label=label, score=1.0, time_ms=1.0) for label in labels)
        measured = {"figure": {"name": "accuracy"}}
        return Evaluation(name="", kind="", images=tuple(images), answers=answers, refused=(), measured=measured)

    assert count_pairs(answer("a", "a", "b", "a"), answer("b", "b", "a", "a")) == AuditCounts(images=2, lost=1)


def test_min_accuracy_decides_by_the_lower_end(tiny_artifact: Path, digits: Path):
    accuracy, low = (
        read(eaves("evaluate", tiny_artifact, digits, "-o", "json"))["models"][0][name]
        for name in ("accuracy", "accuracy_interval_95")
    )
    assert eaves("evaluate", tiny_artifact, digits, "--min-accuracy", low[0] - 0.001).exit_code == 0
    failed = eaves("evaluate", tiny_artifact, digits, "--min-accuracy", (low[0] + accuracy) / 2)
    assert failed.exit_code == 1
    assert "below --min-accuracy" in failed.stderr


def change_setting(run: Path, name: str, value: str):
    """Change a setting `data` of a run, as if it had been trained so."""
    config, about = (json.loads((run / file).read_text()) for file in ("config.json", "run.json"))
    config["data"][name] = value
    (run / "config.json").write_text(json.dumps(config))
    content = (run / "config.json").read_bytes()
    about["files"]["config.json"] = {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
    (run / "run.json").write_text(json.dumps(about))


def test_copies_of_training_photos_are_left_out_and_counted(
    tiny_run: Path, tiny_artifact: Path, digits: Path, tmp_path: Path
):
    trained_on = load_trained_on(tiny_run)
    photos = Path(shutil.copytree(digits, tmp_path / "photos"))
    copied = 0
    for file in sorted(digits.rglob("*.png")):
        if hashlib.sha256(file.read_bytes()).hexdigest() in trained_on:
            target = photos / file.relative_to(digits)
            target.unlink()
            with Image.open(file) as image:
                image.save(target.with_suffix(".bmp"))
            copied += 1
    reported = read(eaves("compare", tiny_run, tiny_artifact, photos, "-o", "json"))
    assert reported["copies_left_out"] == copied > 0
    said = eaves("compare", tiny_run, tiny_artifact, photos).stderr
    assert f"{copied} images are left out: they are copies of images that the model was trained on" in said
    run = Path(shutil.copytree(tiny_run, tmp_path / "off" / tiny_run.name))
    change_setting(run, "near_copies", "off")
    reported = read(eaves("evaluate", tiny_artifact, photos, "--held-out-of", run, "-o", "json"))
    assert reported["copies_left_out"] == 0, "the training took parts that look alike for different ones"
