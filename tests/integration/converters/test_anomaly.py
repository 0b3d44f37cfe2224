"""From photos of good parts to an artifact of less than 25 MB that finds scratches."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from bench.anomaly import BARS, SIZE_BAR_MB, run_trial
from converters.convert import convert
from converters.evaluation.images import load_unseen_images
from converters.evaluation.metrics import evaluate
from converters.evaluation.models import open_model
from converters.settings import ConvertSettings
from eaves.artifact import open_artifact
from eaves.artifact.manifest import ANOMALY
from eaves.errors import DatasetError
from tests.inputs.parts import write_parts
from tests.once import build_once_here
from trainer.data.dataset import load_dataset
from trainer.model.checkpoint import Checkpoints, TrainingIdentity
from trainer.model.feature_sums import FeatureSums
from trainer.model.fit import TrainingTask, fit
from trainer.model.selector import ModelSelection
from trainer.progress import SILENT
from trainer.run.run import open_run
from trainer.settings import DataSettings, TrainSettings
from trainer.storage import open_store
from trainer.train import train

GOOD, MORE = 24, 2


def train_and_convert(root: Path) -> Path:
    """Train on photos of good parts, convert, judge both models, and train again with a few more photos and scratches.

    Returns:
        root: The runs `runs/first` and `runs/second`, `artifact`, and `kinds.json` with the figures of each model.
    """
    photos = write_parts(root / "photos", GOOD, classes=("ok",))
    data, settings = DataSettings(path=photos), TrainSettings(task=ANOMALY, good="ok", image_size=160)
    run = train(data, settings, root / "runs/first", cache=root / "cache")
    artifact = convert(run.path, root / "artifact", ConvertSettings(precision="fp32"))

    judged, kinds = write_parts(root / "judged", 30, seed=1, classes=("ok", "scratch")), []
    for model in (open_model(artifact.path), open_model(run.path)):
        images = load_unseen_images(judged, [model], run.path, cache=root / "cache", progress=SILENT)
        kinds.append(evaluate(model, images, SILENT).measured["kinds"])
    (root / "kinds.json").write_text(json.dumps(kinds))

    write_parts(root / "more", MORE, seed=2, classes=("ok", "scratch"))
    for number in range(MORE):
        (root / f"more/ok/{number:04d}.png").rename(photos / f"ok/more{number}.png")
    (root / "more/scratch").rename(photos / "scratch")
    train(data, settings, root / "runs/second", cache=root / "cache")
    return root


@pytest.mark.long("a model is trained twice and converted, once on a machine")
def test_good_photos_make_a_model_that_finds_scratches_and_new_photos_are_added_to_its_sums(
    tmp_path_factory: pytest.TempPathFactory,
):
    made = build_once_here(tmp_path_factory, "scratches", train_and_convert)
    run, second = (open_run(made / "runs" / name) for name in ("first", "second"))

    anomaly = run.metrics()["anomaly"]
    assert anomaly["rule"]["method"] == "gaussian"
    assert "not promised: it takes 59 groups" in anomaly["promise"]
    assert anomaly["methods"]["gaussian"]["auroc"] > 0.95
    assert run.verdict["kind"] == "usable", run.verdict["text"]
    assert "cross-validated" in run.verdict["text"]
    assert {sample.label for sample in run.samples()} == {"normal", "anomalous"}

    manifest = open_artifact(made / "artifact").manifest
    assert manifest.task == ANOMALY
    assert {output.name: output.shape[1:] for output in manifest.outputs}["map"] == (10, 10)
    assert sum(file.size_bytes for file in manifest.files.values()) < 25e6

    for kinds in json.loads((made / "kinds.json").read_text()):
        assert kinds["scratch"]["auroc"] > 0.98
        assert kinds["ok"]["share"] < 0.2
        assert kinds["scratch"]["share"] > 0.8

    sums = [FeatureSums.from_bytes((one.path / "sums.npz").read_bytes(), "sums") for one in (run, second)]
    assert sums[0].counts.sum() < sums[1].counts.sum() <= sums[0].counts.sum() + MORE
    assert second.dataset["split_of"] == str(run.path), "the split of the first is kept"
    assert "real defects" not in run.verdict["text"]
    assert second.verdict["text"].endswith(f"; {MORE} of {MORE} images of real defects raise an alarm")


def test_held_out_photos_that_look_like_training_ones_promise_nothing(tmp_path: Path):
    """Copies of what a model was fitted to score low, so a threshold from them would be too low for new photos."""
    rng, new = np.random.default_rng(0), 3
    for number in range(6 + new):
        photo = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).resize((96, 96), Image.Resampling.BICUBIC)
        for side in ("train", "val") if number < 6 else ("val",):
            folder = tmp_path / "photos" / side / "ok"
            folder.mkdir(parents=True, exist_ok=True)
            photo.save(folder / f"{number}.jpg", quality=95 if side == "train" else 90)
    data, settings = DataSettings(path=tmp_path / "photos"), TrainSettings(task=ANOMALY, good="ok", image_size=32)
    dataset = load_dataset(data, val_fraction=0.2, seed=0, cache=tmp_path, good="ok")
    assert [len(dataset.on("val")), len(dataset.unseen())] == [6 + new, new]
    image = keras.Input((32, 32, 3))
    checkpoints = Checkpoints(
        open_store(tmp_path / "checkpoints"), TrainingIdentity(config={}, dataset="", code=""), interval_s=3600
    )
    task = TrainingTask(
        model=keras.Model(image, keras.layers.AveragePooling2D(8)(image), name="backbone"),
        dataset=dataset,
        progress=SILENT,
        features=open_store(tmp_path / "features"),
        checkpoints=checkpoints,
        selection=ModelSelection(settings=settings),
    )
    figures = fit(task).figures
    assert figures["kinds"]["ok"]["images"] == new
    assert figures["rule"]["groups"] == 6 + new, "training photos in cross-validation, and new ones"


@pytest.mark.slow
def test_defective_solar_cells_are_found_from_a_hundred_good_ones(tmp_path: Path):
    pytest.importorskip("elpv_dataset", reason="needs pip install elpv-dataset (91 MB, CC BY-NC-SA 4.0)")
    trial = run_trial(tmp_path, 100, 0, "gaussian")
    assert trial.auroc >= BARS[100]
    assert trial.megabytes <= SIZE_BAR_MB


def test_real_defects_judge_and_are_never_trained_on(tmp_path: Path):
    photos = write_parts(tmp_path / "photos", 8, classes=("ok", "scratch"))
    dataset = load_dataset(DataSettings(path=photos), val_fraction=0.25, seed=0, cache=tmp_path, good="ok")
    assert dataset.labels == ("normal", "anomalous")
    assert dataset.counts("train") == {"normal": 6, "anomalous": 0}
    assert dataset.counts("val") == {"normal": 2, "anomalous": 8}
    assert {image.kind for image in dataset.on("train")} == {"ok"}
    with pytest.raises(DatasetError, match="no class good under"):
        load_dataset(DataSettings(path=photos), val_fraction=0.25, seed=0, cache=tmp_path, good="good")
