"""What a probe chooses from features, which images it looks at, and the classifier that it judges by."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from eaves.config import Layer, build
from eaves.errors import StorageError
from trainer.dataset import Example
from trainer.progress import Silent
from trainer.settings import TrainSettings
from trainer.storage import open_store
from trainer.weights.choice import Choice, parse_choice
from trainer.weights.chooser import apply_scale, settle_scale
from trainer.weights.probe import choose_unprobed, compare_scales
from trainer.weights.ridge import leave_out
from trainer.weights.scales import RAW, SCALES, SYMMETRIC, TORCH, UNIT
from trainer.weights.selection import IMAGES, LEAST_IMAGES, select_images
from trainer.weights.stored import SCALE_FILE, load_choice, save_choice, wait_for_choice

Features = dict[str, npt.NDArray[np.float32]]


def settings(**values: object) -> TrainSettings:
    return build(TrainSettings, Layer(origin="test", values=values))


def features(classes: int, each: int, noise: dict[str, float], seed: int = 0) -> tuple[Features, npt.NDArray[np.int64]]:
    """Of every scale, features from which the classes stand out the less, the larger its noise is."""
    rng, labels = np.random.default_rng(seed), np.repeat(np.arange(classes), each)
    centres = rng.normal(size=(classes, 40))
    found = {
        name: (centres[labels] + noise.get(name, 50.0) * rng.normal(size=(len(labels), 40))).astype(np.float32)
        for name in SCALES
    }
    return found, labels


def choose(classes: int, each: int, noise: dict[str, float], seed: int = 0) -> Choice:
    found, labels = features(classes, each, noise, seed)
    return compare_scales(found, labels, [""] * len(labels), own=SYMMETRIC, file="w.h5")


def test_the_scale_that_is_better_beyond_noise_is_chosen() -> None:
    choice = choose(5, 30, {"unit": 2.5, "symmetric": 6.0})
    assert (choice.scale, choice.by, choice.images) == (UNIT, "probe", 150)
    assert [figure.scale for figure in choice.figures[:2]] == ["unit", "symmetric"]
    assert [figure.differs for figure in choice.figures] == [False, True, True, True]
    low, high = choice.figures[0].interval_95
    assert low < choice.figures[0].accuracy < high
    assert choice.render_line().startswith("train.scale: auto chose unit (pixels 0 to 1) for w.h5 by a probe. Share of")
    assert f"unit {choice.figures[0].accuracy:.2f} ({low:.2f} to {high:.2f}), symmetric" in choice.render_line()


def test_the_architectures_own_is_chosen_where_all_others_are_worse() -> None:
    choice = choose(5, 30, {"symmetric": 1.0})
    assert (choice.scale, choice.by) == (SYMMETRIC, "probe")


def test_one_that_is_not_told_from_the_chosen_one_is_named() -> None:
    choice = choose(5, 30, {"unit": 1.0, "torch": 1.0})
    assert choice.by == "probe"
    (alike,) = [name for name in ("unit", "torch") if name != choice.scale.name]
    assert f"; {alike} can't be told from it" in choice.reason


def test_without_a_difference_beyond_noise_the_architectures_own_is_taken() -> None:
    choices = [choose(5, 30, dict.fromkeys(SCALES, 3.0), seed) for seed in range(40)]
    undecided = [choice for choice in choices if choice.by == "undecided"]
    assert len(undecided) >= 38
    assert {choice.scale for choice in undecided} == {SYMMETRIC}
    assert all("by a probe no other is better beyond noise" in choice.reason for choice in undecided)
    assert {len(choice.figures) for choice in undecided} == {len(SCALES)}


def test_a_network_that_overflows_under_a_scale_is_merely_wrong_there() -> None:
    found, labels = features(5, 30, {"unit": 1.0})
    found["raw"][:] = np.inf
    found["torch"][::2] = np.nan
    choice = compare_scales(found, labels, [""] * len(labels), own=SYMMETRIC, file="w.h5")
    assert choice.scale == UNIT
    assert choice.figures[-1].accuracy <= 0.35


def test_images_of_a_group_are_not_judged_by_each_other() -> None:
    """Features that tell the groups apart, and nothing else: each image is recognised by its copy alone."""
    rng, labels = np.random.default_rng(0), np.arange(120) // 2 % 4
    vectors = np.repeat(rng.normal(size=(60, 200)), 2, axis=0) + 0.01 * rng.normal(size=(120, 200))
    groups = [f"g{number // 2}" for number in range(120)]
    assert np.mean(leave_out(vectors, labels).argmax(axis=1) == labels) > 0.95
    assert np.mean(leave_out(vectors, labels, groups).argmax(axis=1) == labels) < 0.4


def test_leaving_out_is_as_fitting_to_the_others() -> None:
    rng, labels = np.random.default_rng(1), np.arange(30) % 3
    vectors = np.eye(3)[labels] @ rng.normal(size=(3, 8)) + rng.normal(size=(30, 8))
    groups = [f"g{number // 4}" if number < 20 else "" for number in range(30)]
    scores = leave_out(vectors, labels, groups)
    values = np.sign(vectors) * np.sqrt(np.abs(vectors))
    centred, targets = values - values.mean(axis=0), np.eye(3)[labels]
    penalties = [strength * (centred**2).sum() / 30 for strength in (0.03, 0.1, 0.3, 1.0, 3.0)]
    fitted = []
    for penalty in penalties:
        expected = np.empty_like(scores)
        for number, group in enumerate(groups):
            kept = [row for row in range(30) if row != number and (not group or groups[row] != group)]
            design = np.hstack([centred[kept], np.ones((len(kept), 1))])
            ridge = penalty * np.diag([1.0] * 8 + [0.0])  # the intercept is free
            weights = np.linalg.solve(design.T @ design + ridge, design.T @ targets[kept])
            expected[number] = np.append(centred[number], 1.0) @ weights
        fitted.append(expected)
    assert any(np.allclose(scores, expected, atol=1e-6) for expected in fitted)


def example(label: int, number: int, *, split: str = "train", group: str = "") -> Example:
    digest = hashlib.sha256(f"{label}:{number}".encode()).hexdigest()
    return Example(path=Path(f"{number}.png"), label=label, digest=digest, split=split, group=group)  # type: ignore[arg-type]


def test_the_images_are_of_the_training_side_and_of_every_class_alike() -> None:
    examples = [
        example(label, number, split="val" if number % 5 == 0 else "train")
        for label in range(4)
        for number in range(90)
    ]
    rows = select_images(examples)
    assert len(rows) == IMAGES
    assert {examples[row].split for row in rows} == {"train"}
    assert [sum(examples[row].label == label for row in rows) for label in range(4)] == [IMAGES // 4] * 4
    chosen = {examples[row].digest for row in rows}
    turned = examples[::-1]
    assert {turned[row].digest for row in select_images(turned)} == chosen


def test_a_group_gives_further_images_only_when_the_others_gave_theirs() -> None:
    burst = [example(0, number, group="burst") for number in range(500)]
    others = [example(0, number) for number in range(500, 560)]
    second = [example(1, number) for number in range(200)]
    rows = select_images([*burst, *others, *second])
    assert sum(row < 500 for row in rows) == IMAGES // 2 - 60


def test_of_very_many_classes_the_largest_are_looked_at() -> None:
    examples = [example(label, number) for label in range(300) for number in range(9 if label < 20 else 8)]
    labels = {examples[row].label for row in select_images(examples)}
    assert labels == set(range(20))


def test_a_scale_is_what_the_models_layer_does() -> None:
    import keras

    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3), dtype=np.uint8)
    for scale in SCALES.values():
        layer = keras.layers.Rescaling(scale.factors(), scale.offsets())
        assert np.array_equal(apply_scale(scale, pixels), np.asarray(layer(pixels)))
    assert apply_scale(UNIT, pixels).max() <= 1
    assert apply_scale(SYMMETRIC, pixels).min() >= -1
    assert apply_scale(RAW, pixels).max() == pixels.max()
    assert apply_scale(TORCH, pixels)[0, 0, 0] == pytest.approx(
        (pixels[0, 0, 0] / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225], rel=1e-5
    )


def test_what_needs_no_probe(tmp_path: Path) -> None:
    file = tmp_path / "mine.weights.h5"
    file.write_bytes(b"abc")
    assert settle_scale(settings(weights=str(file))) is None
    for values, by, scale in (
        ({"weights": str(file), "scale": "unit"}, "setting", UNIT),
        ({"weights": "imagenet"}, "architecture", SYMMETRIC),
        ({"arch": "densenet121"}, "architecture", TORCH),
        ({"arch": "small_cnn"}, "architecture", UNIT),
    ):
        choice = settle_scale(settings(**values))
        assert choice is not None
        assert (choice.by, choice.scale) == (by, scale)
    told = settle_scale(settings(weights=str(file), scale="unit"))
    assert told is not None
    assert told.reason == "train.scale is unit (pixels 0 to 1), so mine.weights.h5 is not probed"


def test_too_few_images_are_said() -> None:
    choice = choose_unprobed(SYMMETRIC, images=8, file="w.h5")
    assert (choice.scale, choice.by, choice.figures) == (SYMMETRIC, "undecided", ())
    assert f"8 training images are too few for a probe, which takes {LEAST_IMAGES}" in choice.render_line()


def test_the_choice_of_an_unfinished_run_is_kept_for_the_same_training_only(tmp_path: Path) -> None:
    store, choice = open_store(tmp_path / "checkpoints"), choose(5, 30, {"unit": 1.0})
    assert load_choice(store, "f") is None
    save_choice(store, "f", choice)
    assert load_choice(store, "f") == choice
    assert load_choice(store, "another") is None
    assert wait_for_choice(store, "f", Silent()) == choice
    store.write(SCALE_FILE, b'{"fingerprint": "f", "choice": {"name": "fahrenheit"}}')
    assert load_choice(store, "f") is None


def test_a_pod_waits_for_the_choice_for_so_long(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"stored no scale.json"):
        wait_for_choice(open_store(tmp_path), "f", Silent(), patience_s=0.02, poll_s=0.005)


def test_the_choice_is_plain_data() -> None:
    choice = choose(5, 30, {"unit": 1.0})
    assert parse_choice(json.loads(json.dumps(choice.to_dict()))) == choice
