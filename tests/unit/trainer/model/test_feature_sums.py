"""Sums over features: however they are split, added, subtracted and merged, the head is that of all images at once."""

import io
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from eaves.errors import RunError
from trainer.data.dataset import Dataset
from trainer.data.listing import LabelledImage
from trainer.model.feature_sums import Features, FeatureSums, SumsOrigin, merge_all
from trainer.model.kept_sums import KeptSums, load_kept_sums, sum_part, update_sums
from trainer.model.linear_head import HeadRecipe, LabelledRows, fit_linear
from trainer.model.sum_parts import SumParts
from trainer.progress import SILENT
from trainer.storage import open_store

LABELS = ("daisy", "rose", "tulip")
ORIGIN = SumsOrigin(recipe="r1", backbone="b1", scale="unit")


def draw(count: int, size: int = 12, *, seed: int = 0) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Features, (count, size), whose mean is far from zero, and their labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(LABELS), count)
    centres = np.random.default_rng(99).normal(size=(len(LABELS), size))
    return (100 + centres[labels] + rng.normal(size=(count, size))).astype(np.float32), labels


def sum_up(features: Features, labels: npt.NDArray[np.int64], names: Sequence[str] = LABELS) -> FeatureSums:
    return FeatureSums.of(features, labels, names, ORIGIN, groups=len(labels))


def assert_same_head(found: FeatureSums, expected: FeatureSums) -> None:
    for weights in (None, np.array([1.0, 2.0, 0.5])):
        (_, mine), (_, theirs) = (sums.solve((1.0,), weights) for sums in (found, expected))
        np.testing.assert_allclose(mine.kernel, theirs.kernel, atol=1e-6)
        np.testing.assert_allclose(mine.bias, theirs.bias, atol=1e-4)


def test_the_head_of_sums_is_the_ridge_of_all_images():
    features, labels = draw(500)
    rows = LabelledRows(labels=labels, groups=tuple(map(str, range(500))), weights=np.ones(500), classes=3)
    expected = fit_linear(HeadRecipe(kind="ridge", strength=0.3), features, rows)
    _, head = sum_up(features, labels).solve((0.3,))
    np.testing.assert_allclose(head(features), expected(features), atol=1e-6)


@pytest.mark.parametrize("order", range(3))
def test_shuffled_split_and_merged_sums_give_the_same_head(order: int):
    features, labels = draw(3_000)
    shuffled = np.random.default_rng(order).permutation(len(labels))
    parts = np.array_split(shuffled, (1, 2, 7)[order])
    assert_same_head(merge_all(sum_up(features[part], labels[part]) for part in parts), sum_up(features, labels))


def test_what_is_subtracted_leaves_no_trace():
    features, labels = draw(2_000)
    whole = sum_up(features, labels).subtract(sum_up(features[:700], labels[:700]))
    assert whole.groups == 1_300
    assert_same_head(whole, sum_up(features[700:], labels[700:]))
    with pytest.raises(RunError, match="more images of a class"):
        sum_up(features[:9], labels[:9]).subtract(sum_up(features, labels))


def test_sums_of_sites_with_other_classes_are_merged_by_name():
    features, labels = draw(900)
    sites = []
    for label in (2, 0, 1):
        of_class = features[labels == label]
        sites.append(sum_up(of_class, np.zeros(len(of_class), np.int64), [LABELS[label]]))
    merged = merge_all(sites)
    assert merged.labels == ("tulip", "daisy", "rose")
    assert_same_head(merged.with_labels(LABELS), sum_up(features, labels))
    with pytest.raises(RunError, match="of the class 'rose'"):
        merged.with_labels(("daisy", "tulip"))


@pytest.mark.parametrize("count", [50_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_float32_features_far_from_zero_lose_no_digits(count: int):
    """Many chunks, summed in seven parts and merged, agree with one float64 pass around the true mean."""
    chunk, size, parts = 10_000, 64, 7
    counts, totals, products = np.zeros(3), np.zeros((3, size)), np.zeros((size, size))
    sums: list[FeatureSums] = []
    for number in range(count // chunk):
        rng = np.random.default_rng(number)
        labels = rng.integers(0, 3, chunk)
        features = (5_000 + 0.5 * rng.normal(size=(chunk, size)) + 0.1 * labels[:, np.newaxis]).astype(np.float32)
        exact, of_class = features.astype(np.float64) - 5_000, np.eye(3)[labels]
        counts, totals, products = counts + of_class.sum(0), totals + of_class.T @ exact, products + exact.T @ exact
        if number < parts:
            sums.append(sum_up(features, labels))
        else:
            sums[number % parts] = sums[number % parts].add(features, labels)
    mean, share = totals.sum(0) / count, counts / count
    centred, cross = products - count * np.outer(mean, mean), totals.T - count * np.outer(mean, share)
    expected = np.linalg.solve(centred + 0.1 * count * np.eye(size), cross)
    axes = merge_all(sums).axes()
    np.testing.assert_allclose(axes.mean - 5_000, mean, rtol=1e-9)
    np.testing.assert_allclose(axes.solve(0.1 * count / axes.spread).kernel, expected, rtol=1e-6, atol=1e-9)


def test_the_strength_that_is_chosen_without_images_is_good_for_other_images():
    """Few images in many dimensions: hardly any penalty fits noise, and the largest knows nothing."""
    sums = sum_up(*draw(60, 100, seed=1))
    others, truth = draw(1_000, 100, seed=2)
    strengths = (1e-6, 1e-3, 0.1, 1.0, 10.0, 1e4)
    errors = {
        strength: float(np.mean((sums.solve((strength,))[1](others) - np.eye(3)[truth]) ** 2)) for strength in strengths
    }
    chosen, _ = sums.solve(strengths)
    assert errors[chosen] < 1.1 * min(errors.values())


def test_what_was_computed_in_another_way_is_not_added():
    features, labels = draw(50)
    mine, theirs = sum_up(features, labels), replace(sum_up(features, labels), origin=replace(ORIGIN, backbone="b2"))
    for combine in (mine.merge, mine.subtract):
        with pytest.raises(RunError, match="backbone b2") as caught:
            combine(theirs)
        assert "same backbone" in str(caught.value.hint)


def test_a_file_keeps_every_bit():
    features, labels = draw(300)
    sums = sum_up(features, labels)
    content = sums.to_bytes()
    found = FeatureSums.from_bytes(content, "sums.npz")
    assert (found.labels, found.origin, found.groups) == (sums.labels, sums.origin, sums.groups)
    for name in ("shift", "counts", "totals"):
        np.testing.assert_array_equal(getattr(found, name), getattr(sums, name))
    np.testing.assert_allclose(found.products, sums.products, rtol=1e-15)
    assert len(content) < 12 * 13 / 2 * 8 + 3_000, "only half of the products is stored"


def _archive(method: int, **changes: object) -> bytes:
    sums = sum_up(*draw(20))
    with np.load(io.BytesIO(sums.to_bytes())) as arrays:
        members = dict(arrays)
    about = json.loads(members["about"].tobytes()) | {k: v for k, v in changes.items() if not isinstance(v, np.ndarray)}
    members |= {k: v for k, v in changes.items() if isinstance(v, np.ndarray)}
    members["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    out = io.BytesIO()
    (np.savez if method == zipfile.ZIP_STORED else np.savez_compressed)(out, **members)
    return out.getvalue()


def test_hostile_and_damaged_files_are_refused():
    stored = zipfile.ZIP_STORED
    for content in (
        b"",
        b"PK\x03\x04" + bytes(100),
        sum_up(*draw(20)).to_bytes()[:-100],
        _archive(zipfile.ZIP_DEFLATED, totals=np.zeros((3, 1_000_000))),
        _archive(stored, format=2),
        _archive(stored, labels=["daisy"]),
        _archive(stored, labels=["daisy", "daisy", "rose"]),
        _archive(stored, groups=-1),
        _archive(stored, counts=np.array([1.0, float("nan"), 1.0])),
        _archive(stored, counts=np.array([1.0, -1.0, 1.0])),
        _archive(stored, totals=np.zeros((3, 12), np.float32)),
        _archive(stored, shift=np.array([object()] * 12)),
    ):
        with pytest.raises(RunError, match=r"site-a/sums\.npz is not a usable file of sums"):
            FeatureSums.from_bytes(content, "site-a/sums.npz")


class Camera:
    """Images with features of their own, and how many were computed."""

    def __init__(self, count: int) -> None:
        self.features, labels = draw(count)
        self.images = [
            LabelledImage(path=Path(f"{n}.jpg"), label=LABELS[label], digest=f"d{n}", name=f"{n}.jpg", split="train")
            for n, label in enumerate(labels)
        ]
        self.computed: list[str] = []

    def dataset(self, images: Sequence[LabelledImage]) -> Dataset:
        return Dataset(root=Path(), labels=LABELS, examples=tuple(images), faults=(), declared=False, balance="none")

    def compute(self, images: Sequence[LabelledImage]) -> Features:
        self.computed += [one.digest for one in images]
        return self.features[[int(one.digest[1:]) for one in images]]


def relabel(images: list[LabelledImage]) -> list[LabelledImage]:
    return [replace(images[0], label=LABELS[(LABELS.index(images[0].label) + 1) % 3]), *images[1:]]


def hold_out(images: list[LabelledImage]) -> list[LabelledImage]:
    return [replace(images[0], split="val"), *images[1:]]


@pytest.mark.parametrize(
    ("change", "computed"),
    [
        (lambda images: images, ["d40", "d41", "d42", "d43", "d44"]),
        (relabel, ["d0", "d0", "d40", "d41", "d42", "d43", "d44"]),
        (hold_out, ["d0", "d40", "d41", "d42", "d43", "d44"]),
        (lambda images: images[1:], [f"d{number}" for number in range(1, 45)]),
    ],
    ids=["new ones", "another class", "held out", "one is gone"],
)
def test_the_next_run_computes_what_has_changed(
    tmp_path: Path, change: Callable[[list[LabelledImage]], list[LabelledImage]], computed: list[str]
):
    camera = Camera(45)
    first = update_sums(None, camera.dataset(camera.images[:40]), ORIGIN, camera.compute)
    for name, content in first.files().items():
        (tmp_path / name).write_bytes(content)
    camera.computed.clear()
    now = camera.dataset(change(camera.images))
    second = update_sums(load_kept_sums(str(tmp_path)), now, ORIGIN, camera.compute)
    assert sorted(camera.computed) == sorted(computed)
    assert_same_head(second.sums, update_sums(None, now, ORIGIN, camera.compute).sums)
    assert second.images.keys() == {one.digest for one in now.on("train")}


def test_sums_of_another_network_and_damaged_lists_are_not_used(tmp_path: Path):
    camera = Camera(30)
    dataset = camera.dataset(camera.images)
    kept = update_sums(None, dataset, ORIGIN, camera.compute)
    camera.computed.clear()
    update_sums(kept, dataset, replace(ORIGIN, recipe="r2"), camera.compute)
    assert len(camera.computed) == 30
    files = KeptSums(sums=kept.sums, images=dict(list(kept.images.items())[1:])).files()
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    assert load_kept_sums(str(tmp_path)) is None
    assert load_kept_sums("") is None


def in_parts(camera: Camera, dataset: Dataset, folder: Path, *, order: Sequence[int], number: int = 3) -> KeptSums:
    """Sums of pods that begin in an order; the first pod, 0, is the last of them, so that it waits for none."""
    for index in order:
        sum_part(None, dataset, ORIGIN, camera.compute, parts_at(folder, index, number))
    return update_sums(None, dataset, ORIGIN, camera.compute, parts_at(folder, 0, number))


def parts_at(folder: Path, index: int, number: int = 3) -> SumParts:
    return SumParts(index=index, number=number, store=open_store(folder), progress=SILENT)


def test_each_image_is_in_one_part_and_the_sums_of_all_parts_are_those_of_one_pass(tmp_path: Path):
    camera = Camera(2_500)
    dataset = camera.dataset(camera.images)
    found = in_parts(camera, dataset, tmp_path, order=(2, 1, 1))
    assert sorted(camera.computed) == sorted(one.digest for one in camera.images), "each was computed once"
    whole = update_sums(None, dataset, ORIGIN, camera.compute)
    assert found.images == whole.images
    moved = found.sums.measured_from(whole.sums.shift)
    for name in ("counts", "totals", "products"):
        np.testing.assert_allclose(getattr(moved, name), getattr(whole.sums, name), rtol=1e-9, atol=1e-8)
    (_, mine), (_, theirs) = found.sums.solve((0.1,)), whole.sums.solve((0.1,))
    np.testing.assert_allclose(mine.kernel, theirs.kernel, atol=1e-9)


def test_more_pods_than_images_leave_parts_empty(tmp_path: Path):
    camera = Camera(5)
    found = in_parts(camera, camera.dataset(camera.images), tmp_path, order=range(1, 40), number=40)
    assert sum(found.sums.counts) == 5


def test_a_part_of_other_images_or_of_another_network_is_computed_again(tmp_path: Path):
    camera = Camera(60)
    dataset = camera.dataset(camera.images)
    in_parts(camera, dataset, tmp_path, order=(1, 2))
    camera.computed.clear()
    sum_part(None, dataset, ORIGIN, camera.compute, parts_at(tmp_path, 1))
    assert not camera.computed, "a pod that is started twice"
    for index in (1, 2):
        sum_part(None, camera.dataset(relabel(camera.images)), ORIGIN, camera.compute, parts_at(tmp_path, index))
    (part,) = {int(digest, 16) % 3 for digest in camera.computed}
    assert part == int("d0", 16) % 3, "only the part of the image whose class has changed"
    camera.computed.clear()
    sum_part(None, dataset, replace(ORIGIN, backbone="b2"), camera.compute, parts_at(tmp_path, 2))
    assert camera.computed


def test_a_damaged_part_is_computed_again(tmp_path: Path):
    camera = Camera(60)
    dataset = camera.dataset(camera.images)
    in_parts(camera, dataset, tmp_path, order=(1, 2))
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[:-9])
    found = in_parts(camera, dataset, tmp_path, order=())
    assert_same_head(found.sums, update_sums(None, dataset, ORIGIN, camera.compute).sums)
