"""What is said of a model's answers, alone and beside another's."""

import hashlib
import math
from pathlib import Path

import numpy as np
import pytest

from converters.evaluation.images import load_labelled_images
from converters.evaluation.metrics import Pairing, evaluate, pair
from converters.evaluation.models import NO_LABEL
from eaves.errors import ArtifactError, DatasetError
from tests.fakes.models.evaluated import ColourModel, write_colours
from trainer.grouped_statistics import JudgedImages
from trainer.progress import SilentProgress


def test_unknown_classes_are_refused_with_both_lists(tmp_path: Path):
    found = load_labelled_images(write_colours(tmp_path, {"blue": 2, "mauve": 1}))
    with pytest.raises(DatasetError, match=r"does not have the classes mauve; its classes are blue, green, red"):
        evaluate(ColourModel(), found, SilentProgress())


def test_images_that_cannot_be_read_count_neither_way(tmp_path: Path):
    root = write_colours(tmp_path, {"blue": 2, "red": 1})
    (root / "red/cut.png").write_bytes((root / "red/000.png").read_bytes()[:40])
    seen = evaluate(ColourModel(), load_labelled_images(root), SilentProgress())
    assert (seen.accuracy, len(seen.images)) == (1, 3)
    assert [item.file for item in seen.refused] == ["red/cut.png"]


def test_what_was_trained_on_is_left_out(tmp_path: Path):
    root = write_colours(tmp_path, {"blue": 2, "red": 1})
    digests = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in root.rglob("*.png")}
    found = load_labelled_images(root, {digests[root / "blue/000.png"]})
    assert [image.name for image in found.images] == ["blue/001.png", "red/000.png"]
    assert found.trained_on == 1
    with pytest.raises(DatasetError, match="the model was trained on all 3 images"):
        load_labelled_images(root, digests.values())


def test_the_interval_of_a_difference_has_95_percent_on_both_sides_together():
    """For two models that never differ the exact bound is known: each side misses 2.5 %."""
    images = 59
    right = np.ones(images, bool)
    low, high = Pairing(judged=JudgedImages(range(images)), first=right, second=right).interval
    exact = 1 - 0.025 ** (1 / images)
    assert low == pytest.approx(-high)
    assert high >= exact - 1e-6


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_a_score_that_is_no_number_is_an_error_that_names_the_image(tmp_path: Path, score: float):
    found = load_labelled_images(write_colours(tmp_path, {"blue": 2}))
    with pytest.raises(ArtifactError, match=f"colours answered blue/000.png with the score {score}") as caught:
        evaluate(ColourModel(score=score), found, SilentProgress())
    assert caught.value.hint


def test_of_a_declared_split_the_held_out_side_is_taken(tmp_path: Path):
    write_colours(tmp_path / "train", {"blue": 2, "red": 1})
    write_colours(tmp_path / "val", {"blue": 1, "red": 1})
    assert [image.name for image in load_labelled_images(tmp_path).images] == ["val/blue/000.png", "val/red/000.png"]


def test_two_models_are_distinguished_by_the_images_that_one_of_them_gets_right(tmp_path: Path):
    found = load_labelled_images(write_colours(tmp_path, {"blue": 3, "green": 4, "red": 5}))
    first = evaluate(ColourModel("first", answers={"green": "red"}), found, SilentProgress())
    second = evaluate(ColourModel("second", answers={"blue": "red"}), found, SilentProgress())
    paired = pair(first, second)
    assert (paired.count(first=True, second=True), paired.lost, paired.gained) == (5, 3, 4)
    assert paired.difference == pytest.approx(1 / 12)
    assert paired.interval[0] < 0 < paired.interval[1]
    assert len(paired.differing) == 7
    assert pair(first, first).differing == ()


def test_two_models_of_rare_defects_are_compared_by_their_mean_recall(tmp_path: Path):
    found = load_labelled_images(write_colours(tmp_path, {"blue": 2, "red": 18}))
    models = ColourModel("first"), ColourModel("second", answers={"blue": "red"})
    for model in models:
        model.is_balanced = True
    paired = pair(*(evaluate(model, found, SilentProgress()) for model in models))
    assert paired.figure == "mean recall"
    assert paired.difference == pytest.approx(-0.5)


def test_an_evaluation_says_what_the_model_is_worth(tmp_path: Path):
    found = load_labelled_images(write_colours(tmp_path, {"blue": 30, "red": 30}))
    evaluation = evaluate(ColourModel(answers={"red": "blue"}), found, SilentProgress())
    assert evaluation.quality.kind == "guessing"
    assert evaluation.quality.text.startswith("this model is not shown to be better than guessing: 0.50 on 60 labelled")
    assert "nothing is known about green, of which there is no labelled image" in evaluation.quality.text
    assert evaluation.to_dict()["verdict"]["kind"] == "guessing"


def test_a_score_below_every_threshold_is_no_class_of_its_own(tmp_path: Path):
    found = load_labelled_images(write_colours(tmp_path, {"blue": 10, "red": 10}))
    evaluation = evaluate(ColourModel(answers={"red": NO_LABEL}), found, SilentProgress())
    assert NO_LABEL not in evaluation.quality.text
    assert NO_LABEL in evaluation.measured["labels"]
