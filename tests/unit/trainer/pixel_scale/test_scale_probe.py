"""What a probe chooses from features, which images it looks at, and the classifier that it judges by."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from eaves.config import SettingsLayer, build
from eaves.errors import StorageError
from trainer.data.dataset import Dataset, Example
from trainer.data.pixels import DecodedDataset
from trainer.features.sharding import Shard, ShardDoneError
from trainer.pixel_scale.brightness import ImageBrightness, measure_brightness
from trainer.pixel_scale.chooser import choose_scale, probe_scale, settle_scale
from trainer.pixel_scale.probe import choose_scale_by_probe, score_features
from trainer.pixel_scale.probe_images import IMAGES, select_images
from trainer.pixel_scale.ridge import score_leave_one_out
from trainer.pixel_scale.scale_choice import ScaleChoice, parse_choice
from trainer.pixel_scale.scales import LITE, RAW, SCALES, SYMMETRIC, TORCH, UNIT
from trainer.pixel_scale.stored_choice import SCALE_FILE, load_choice, save_choice, wait_for_choice
from trainer.progress import SilentProgress
from trainer.settings import TrainSettings
from trainer.storage import open_store

Answers = dict[str, npt.NDArray[np.bool_]]
PHOTOS = ImageBrightness(brightness=110, spread=50)
NEAR = {"unit": 0.1, "symmetric": 2.0, "torch": 9.0, "raw": 5000.0}


def settings(**values: object) -> TrainSettings:
    return build(TrainSettings, SettingsLayer(origin="test", values={"arch": "inception_v3", **values}))


def answers(noise: dict[str, float], seed: int = 0, *, classes: int = 5, each: int = 30) -> Answers:
    """To features from which the classes stand out the less, the larger a scale's noise is."""
    rng, labels = np.random.default_rng(seed), np.repeat(np.arange(classes), each)
    centres, found = rng.normal(size=(classes, 40)), {}
    for name in SCALES:
        features = centres[labels] + noise.get(name, 50.0) * rng.normal(size=(len(labels), 40))
        found[name] = score_features(features.astype(np.float32), labels, [""] * len(labels))
    return found


def choose(
    noise: dict[str, float],
    distances: dict[str, float] | None = None,
    seed: int = 0,
    *,
    light: ImageBrightness = PHOTOS,
) -> ScaleChoice:
    return choose_scale_by_probe(answers(noise, seed), distances or {}, light, own=SYMMETRIC, images=150, file="w.h5")


def test_the_scale_under_which_a_classifier_is_better_beyond_noise_is_chosen() -> None:
    choice = choose({"unit": 2.5, "symmetric": 6.0})
    assert (choice.scale, choice.by, choice.images) == (UNIT, "probe", 150)
    assert [figure.scale for figure in choice.figures[:2]] == ["unit", "symmetric"]
    assert [figure.worse for figure in choice.figures] == [False, True, True, True]
    first = choice.figures[0]
    assert first.accuracy is not None
    assert first.interval_95 is not None
    low, high = first.interval_95
    assert low < first.accuracy < high
    assert choice.reason.startswith(
        "train.scale: auto chose unit (pixels 0 to 1) for w.h5: a linear classifier is less accurate"
    )
    assert f"unit {first.accuracy:.2f} ({low:.2f} to {high:.2f}); symmetric" in choice.render_line()


def test_the_architectures_own_is_confirmed_where_all_others_are_worse() -> None:
    choice = choose({"symmetric": 1.0})
    assert (choice.scale, choice.by) == (SYMMETRIC, "probe")


def test_among_scales_that_a_classifier_does_not_tell_apart_the_nearest_is_chosen() -> None:
    choice = choose(dict.fromkeys(SCALES, 3.0), NEAR)
    assert (choice.scale, choice.by) == (UNIT, "probe")
    assert "first features are the nearest to those of its own training" in choice.reason
    assert "distance 0.1; " in choice.render_line()


def test_the_nearest_is_not_chosen_where_a_classifier_is_worse_under_it() -> None:
    near = {"unit": 0.02, "symmetric": 0.2, "torch": 9.0, "raw": 5000.0}
    choice = choose({"symmetric": 1.0, "torch": 1.0}, near)
    assert (choice.scale, choice.by) == (SYMMETRIC, "probe")
    assert choice.figures[-1].worse


def test_without_a_clear_difference_the_architectures_own_is_taken_and_said() -> None:
    close = {"unit": 0.1, "symmetric": 0.25, "torch": 9.0, "raw": 5000.0}
    choice = choose(dict.fromkeys(SCALES, 3.0), close)
    assert (choice.scale, choice.by) == (SYMMETRIC, "undecided")
    assert "could not tell whether unit or torch or raw is more accurate. Set train.scale (--scale)" in choice.reason


@pytest.mark.parametrize(
    ("light", "why"),
    [
        (
            ImageBrightness(brightness=193, spread=23),
            "the spread of their brightness is 23 grey values (ordinary photos have at least 40)",
        ),
        (
            ImageBrightness(brightness=187, spread=44),
            "their brightness is 187 of 255 (ordinary photos have at most 160)",
        ),
    ],
)
def test_the_nearest_is_not_chosen_on_images_that_are_not_like_ordinary_photos(
    light: ImageBrightness, why: str
) -> None:
    """What was measured of Inception V3, trained on 0 to 1: a drawn part under a fixed camera, and a bright one."""
    near = {"unit": 0.97, "symmetric": 0.058, "torch": 2.3, "raw": 5000.0}
    for choice in (
        choose(dict.fromkeys(SCALES, 3.0), near, light=light),
        choose_scale_by_probe({}, near, light, own=UNIT, images=24, file="w.h5"),
    ):
        assert choice.by == "undecided"
        assert f"The distance of the first features says nothing about these images: {why}" in choice.reason
    assert choice.scale == UNIT  # the architecture's own


def test_the_nearest_is_not_chosen_where_it_is_far() -> None:
    far = {"unit": 0.81, "symmetric": 4.6, "torch": 11.5, "raw": 5000.0}
    choice = choose(dict.fromkeys(SCALES, 3.0), far)
    assert (choice.scale, choice.by) == (SYMMETRIC, "undecided")
    assert "The distance of the first features does not decide: the smallest is 0.81 (unit)" in choice.reason


def test_brightness_and_spread_are_those_of_grey_values_within_an_image() -> None:
    """Images that differ from each other, but hardly within, have nearly no spread."""
    flat = np.repeat(np.array([40, 120, 200], np.uint8), 8 * 8 * 3).reshape(3, 8, 8, 3)
    assert measure_brightness(flat) == ImageBrightness(brightness=120, spread=0)
    halves = flat.copy()
    halves[:, :4] += 40
    assert measure_brightness(halves) == ImageBrightness(brightness=140, spread=20)
    coloured = np.zeros((1, 8, 8, 3), np.uint8)
    coloured[..., 0] = 90
    assert measure_brightness(coloured) == ImageBrightness(brightness=30, spread=0)


def test_the_architectures_own_is_not_taken_where_it_is_worse() -> None:
    choice = choose({"unit": 1.0, "torch": 1.0})
    assert choice.by == "probe"
    assert choice.scale in {UNIT, TORCH}
    assert (
        "the architecture's default scale is less accurate; the probe could not tell unit and torch apart"
        in choice.reason
    )


def test_scales_that_are_equally_good_are_seldom_distinguished() -> None:
    choices = [choose(dict.fromkeys(SCALES, 3.0), seed=seed) for seed in range(40)]
    undecided = [choice for choice in choices if choice.by == "undecided"]
    assert len(undecided) >= 37
    assert {choice.scale for choice in undecided} == {SYMMETRIC}


def test_few_images_are_decided_by_their_first_features_or_not_at_all() -> None:
    choice = choose_scale_by_probe({}, NEAR, PHOTOS, own=SYMMETRIC, images=4, file="w.h5")
    assert (choice.scale, choice.by) == (UNIT, "probe")
    assert [figure.accuracy for figure in choice.figures] == [None] * len(SCALES)
    assert "Measured: unit, distance 0.1; symmetric, distance 2; torch" in choice.render_line()
    choice = choose_scale_by_probe({}, {}, PHOTOS, own=SYMMETRIC, images=4, file="w.h5")
    assert (choice.scale, choice.by, choice.figures) == (SYMMETRIC, "undecided", ())
    assert "a probe of 4 training images could not tell" in choice.render_line()


def test_a_network_that_overflows_under_a_scale_is_merely_wrong_there() -> None:
    labels = np.repeat(np.arange(5), 30)
    assert score_features(np.full((150, 40), np.inf, np.float32), labels, [""] * 150).mean() <= 0.35


def test_the_distance_is_smallest_under_the_scale_of_the_training() -> None:
    import keras

    from trainer.pixel_scale.first_features import measure_distances

    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    image = keras.Input((8, 8, 3))
    convolved = keras.layers.Conv2D(16, 3)(image)
    backbone = keras.Model(image, keras.layers.BatchNormalization(momentum=0.0)(convolved))
    assert measure_distances(backbone, pixels, SCALES) is None  # never trained
    assert measure_distances(keras.Model(image, convolved), pixels, SCALES) is None
    for scale in SCALES.values():
        backbone(scale.apply(rng.integers(0, 256, (64, 8, 8, 3), dtype=np.uint8)), training=True)
        distances = measure_distances(backbone, pixels, SCALES)
        assert distances is not None
        nearest, *others = sorted(distances, key=lambda name: distances[name])
        assert nearest == scale.name
        assert 3 * distances[nearest] < distances[others[0]]


def test_images_of_a_group_are_not_judged_by_each_other() -> None:
    """Features that tell the groups apart, and nothing else: each image is recognised by its copy alone."""
    rng, labels = np.random.default_rng(0), np.arange(120) // 2 % 4
    vectors = np.repeat(rng.normal(size=(60, 200)), 2, axis=0) + 0.01 * rng.normal(size=(120, 200))
    groups = [f"g{number // 2}" for number in range(120)]
    assert np.mean(score_leave_one_out(vectors, labels).argmax(axis=1) == labels) > 0.95
    assert np.mean(score_leave_one_out(vectors, labels, groups).argmax(axis=1) == labels) < 0.4


def test_leaving_out_is_as_fitting_to_the_others() -> None:
    rng, labels = np.random.default_rng(1), np.arange(30) % 3
    vectors = np.eye(3)[labels] @ rng.normal(size=(3, 8)) + rng.normal(size=(30, 8))
    groups = [f"g{number // 4}" if number < 20 else "" for number in range(30)]
    scores = score_leave_one_out(vectors, labels, groups)
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
    for scale in (*SCALES.values(), LITE):
        layer = keras.layers.Rescaling(scale.factors(), scale.offsets())
        assert np.array_equal(scale.apply(pixels), np.asarray(layer(pixels)))
    assert UNIT.apply(pixels).max() <= 1
    assert SYMMETRIC.apply(pixels).min() >= -1
    assert RAW.apply(pixels).max() == pixels.max()
    every = np.arange(256, dtype=np.uint8)
    assert np.array_equal(LITE.apply(every).astype(np.float64), (every.astype(np.float64) - 127) / 128)
    assert TORCH.apply(pixels)[0, 0, 0] == pytest.approx(
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
        ({"arch": "efficientnet_lite0"}, "architecture", LITE),
        ({"arch": "efficientnet_lite0", "weights": str(file)}, "architecture", LITE),
        ({"arch": "efficientnet_lite0", "weights": str(file), "scale": "unit"}, "setting", UNIT),
    ):
        choice = settle_scale(settings(**values))
        assert choice is not None
        assert (choice.by, choice.scale) == (by, scale)
    reported = settle_scale(settings(weights=str(file), scale="unit"))
    assert reported is not None
    assert reported.reason == "train.scale is unit (pixels 0 to 1), so mine.weights.h5 is not probed"


def test_the_choice_of_an_unfinished_run_is_kept_for_the_same_training_only(tmp_path: Path) -> None:
    store, choice = open_store(tmp_path / "checkpoints"), choose({"unit": 1.0}, NEAR)
    assert load_choice(store, "f") is None
    save_choice(store, "f", choice)
    assert load_choice(store, "f") == choice
    assert load_choice(store, "another") is None
    assert wait_for_choice(store, "f", SilentProgress(), is_finished=lambda: False) == choice
    store.write(SCALE_FILE, b'{"fingerprint": "f", "choice": {"name": "fahrenheit"}}')
    assert load_choice(store, "f") is None


def test_a_pod_waits_for_the_choice_for_so_long(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"not stored scale.json"):
        wait_for_choice(
            open_store(tmp_path), "f", SilentProgress(), is_finished=lambda: False, patience_s=0.02, poll_s=0.005
        )


def test_a_pod_whose_images_are_others_than_those_of_index_0_ends_at_once(tmp_path: Path) -> None:
    """A photo that is uploaded between the two pods' listings makes two different trainings."""
    store = open_store(tmp_path)
    save_choice(store, "that of index 0", choose({"unit": 1.0}, NEAR))
    with pytest.raises(
        StorageError, match=r"the images or settings of the pod with index 0 differ from those of this pod"
    ) as caught:
        wait_for_choice(store, "f", SilentProgress(), is_finished=lambda: False, patience_s=60)
    assert "scale.json" in caught.value.message
    assert "restart this pod" in str(caught.value.hint)


def test_a_damaged_choice_is_waited_for_until_index_0_has_written_it_again(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.write(SCALE_FILE, b"{")
    with pytest.raises(StorageError, match=r"not stored scale.json"):
        wait_for_choice(store, "f", SilentProgress(), is_finished=lambda: False, patience_s=0.02, poll_s=0.005)


def test_a_pod_is_done_when_index_0_finishes_the_run_before_it_has_seen_the_scale(tmp_path: Path) -> None:
    """Index 0 removes scale.json once the run is published."""
    looks = iter((False, False, True))
    with pytest.raises(ShardDoneError):
        wait_for_choice(
            open_store(tmp_path), "f", SilentProgress(), is_finished=lambda: next(looks), patience_s=60, poll_s=0
        )


def test_further_pods_of_a_job_and_a_run_that_continues_take_the_stored_choice(tmp_path: Path) -> None:
    """The backbone is never asked: there is none."""
    file = tmp_path / "mine.weights.h5"
    file.write_bytes(b"abc")
    dataset = Dataset(root=tmp_path, labels=("a", "b"), examples=(), faults=(), declared=True)
    nothing = DecodedDataset(dataset=dataset, pixels=np.empty((0, 9, 9, 3), np.uint8), labels=np.empty(0, np.int64))
    store, choice = open_store(tmp_path / "checkpoints"), choose({"unit": 1.0}, NEAR)
    save_choice(store, "f", choice)
    for share in (None, Shard(index=0, count=2), Shard(index=1, count=2)):
        found = choose_scale(
            settings(weights=str(file)),
            nothing,
            None,
            backbone_sha256="b",
            features=open_store(tmp_path / "features"),
            unfinished=store,
            fingerprint="f",
            is_finished=lambda: False,
            progress=SilentProgress(),
            share=share,
        )
        assert found == choice


class Lookup:
    """A backbone that recognises 60 pictures by their brightest pixel and gives each its own features."""

    layers = ()
    output_shape = (None, 200)

    def __init__(self) -> None:
        self._features = np.random.default_rng(0).normal(size=(81, 200)).astype(np.float32)

    def predict_on_batch(self, scaled: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The features of (N, 9, 9, 3) floats under any scale."""
        return np.asarray(self._features[scaled[..., 0].reshape(len(scaled), -1).argmax(axis=1)])


@pytest.mark.parametrize("grouped", [True, False])
def test_a_probe_does_not_judge_an_image_by_another_one_of_its_group(tmp_path: Path, *, grouped: bool) -> None:
    """Features tell the pictures apart and nothing else, so that only the second photo of a picture recognises one."""
    pixels = np.zeros((120, 81, 3), np.uint8)
    pixels[np.arange(120), np.arange(120) // 2] = 255
    labels = np.arange(120) // 2 % 4
    examples = tuple(
        example(int(label), number, group=f"g{number // 2}" if grouped else "") for number, label in enumerate(labels)
    )
    dataset = Dataset(root=tmp_path, labels=("a", "b", "c", "d"), examples=examples, faults=(), declared=True)
    choice = probe_scale(
        settings(weights="mine.weights.h5"),
        DecodedDataset(dataset=dataset, pixels=pixels.reshape(120, 9, 9, 3), labels=labels),
        Lookup(),
        backbone_sha256="b",
        features=open_store(tmp_path / "features"),
        progress=SilentProgress(),
    )
    accuracies = [figure.accuracy for figure in choice.figures if figure.accuracy is not None]
    assert len(accuracies) == len(SCALES)
    assert max(accuracies) < 0.4 if grouped else min(accuracies) > 0.95


def test_index_0_removes_the_choice_of_an_earlier_training_before_it_probes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The other pods would take it for that of index 0, and end."""
    file = tmp_path / "mine.weights.h5"
    file.write_bytes(b"abc")
    dataset = Dataset(root=tmp_path, labels=("a", "b"), examples=(example(0, 1),), faults=(), declared=True)
    decoded = DecodedDataset(dataset=dataset, pixels=np.zeros((1, 9, 9, 3), np.uint8), labels=np.zeros(1, np.int64))
    store, there = open_store(tmp_path / "checkpoints"), list[bool]()
    save_choice(store, "of an earlier training", choose({"unit": 1.0}, NEAR))

    class Backbone:
        """A backbone without layers, which notes whether the file is there when the probe asks for them."""

        @property
        def layers(self) -> list[object]:
            there.append(store.exists(SCALE_FILE))
            return []

    found = choose_scale(
        settings(weights=str(file)),
        decoded,
        Backbone(),
        backbone_sha256="b",
        features=open_store(tmp_path / "features"),
        unfinished=store,
        fingerprint="f",
        is_finished=lambda: False,
        progress=SilentProgress(),
        share=Shard(index=0, count=2),
    )
    assert there == [False]
    assert load_choice(store, "f") == found
    assert found.by == "undecided"
    reported = [record for record in caplog.records if "could not tell" in record.getMessage()]
    assert [record.levelname for record in reported] == ["WARNING"]
    assert "Set train.scale (--scale)" in reported[0].getMessage()


def test_the_choice_is_plain_data() -> None:
    choice = choose({"unit": 1.0}, NEAR)
    assert parse_choice(json.loads(json.dumps(choice.to_dict()))) == choice
