"""The head that is merged from many sites' sums is that of all their images, however these are split and arrive."""

import hashlib
import io
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from trainer.calibration import fit_temperature, prior_correction
from trainer.federation.head_file import MergedHead
from trainer.federation.merging import Merging, forget_site, merge_sites, reconcile, solve_head
from trainer.model.feature_sums import STRENGTHS, FeatureSums, SumsOrigin

LABELS = ("daisy", "rose", "tulip")
ORIGIN = SumsOrigin(recipe="r1", backbone="b1")
SIZE, NOW = 80, time.time_ns() // 10**6
Floats = npt.NDArray[np.float32]
Truth = npt.NDArray[np.int64]


def draw(count: int, seed: int = 0) -> tuple[Floats, Truth]:
    """Features, (count, SIZE), whose mean is far from zero, and their labels; one class is rare."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(3, count, p=[0.6, 0.3, 0.1])
    centres = np.random.default_rng(99).normal(size=(3, SIZE))
    return (20 + centres[truth] + 2 * rng.normal(size=(count, SIZE))).astype(np.float32), truth


POINT = draw(10, seed=5)[0].mean(axis=0, keepdims=True).astype(np.float64)


def sum_up(features: Floats, truth: Truth, labels: Sequence[str] = LABELS) -> FeatureSums:
    return FeatureSums.empty(labels, ORIGIN, POINT).add(features, truth, groups=len(truth))


def upload(folder: Path, site: str, sums: FeatureSums | bytes, sequence: int = NOW) -> Path:
    """Write a file of sums as a receiver does."""
    content = sums if isinstance(sums, bytes) else sums.to_bytes(np.float32)
    path = folder / "flowers/sums" / f"{site}-{sequence}-{hashlib.sha256(content).hexdigest()[:16]}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def merge(folder: Path, renames: dict[str, str] | None = None) -> Merging:
    return merge_sites(folder / "flowers", ORIGIN, (1, SIZE), LABELS, renames)


def head_of(merged: Path | Merging) -> MergedHead:
    merging = merge(merged) if isinstance(merged, Path) else merged
    assert merging.sums is not None
    return solve_head(merging.sums, SIZE)


def split_evenly(truth: Truth, sites: int) -> Truth:
    return np.arange(len(truth)) % sites


def split_by_class(truth: Truth, sites: int) -> Truth:
    return truth + 3 * (np.arange(len(truth)) % (sites // 3))


def split_unevenly(truth: Truth, sites: int) -> Truth:
    shares = np.random.default_rng(3).dirichlet(np.full(sites, 0.1), size=3)
    return np.array([np.random.default_rng(row).choice(sites, p=shares[label]) for row, label in enumerate(truth)])


@pytest.mark.parametrize("split", [split_evenly, split_by_class, split_unevenly])
def test_a_merged_head_is_that_of_all_images_at_once(split: Callable[[Truth, int], Truth], tmp_path: Path):
    """Though files arrive in any order, twice, and an older one last."""
    features, truth = draw(1200)
    held_out, _ = draw(500, seed=1)
    site = split(truth, 12)
    order = np.random.default_rng(7).permutation(np.unique(site))
    for number in order:
        upload(tmp_path, f"site-{number}", sum_up(features[site == number], truth[site == number]), NOW + number)
    pooled = sum_up(features, truth)
    upload(tmp_path, f"site-{order[0]}", pooled, 999)  # an older one, which arrives late
    found = head_of(tmp_path)
    counts = pooled.counts
    _, expected = pooled.solve(STRENGTHS, counts.sum() / 3 / counts)
    scores, wanted = found.head(held_out.astype(np.float64)), expected(held_out.astype(np.float64))
    scale = np.abs(scores).max() / np.abs(wanted).max()  # scores become logits, by one number for all
    assert np.abs(scores / scale - wanted).max() < 1e-6
    assert (scores.argmax(axis=1) == wanted.argmax(axis=1)).all()
    assert sum(merge(tmp_path).sites.values()) == 1200
    assert found.label_weights == pytest.approx(tuple(counts.min() / counts))


def test_a_forgotten_site_leaves_the_head_that_is_made_without_it(tmp_path: Path):
    features, truth = draw(600)
    for name, rows in (("berlin", slice(0, 200)), ("lyon", slice(200, 400)), ("turin", slice(400, 600))):
        for folder in ("all", "without") if name != "lyon" else ("all",):
            upload(tmp_path / folder, name, sum_up(features[rows], truth[rows]))
    assert head_of(tmp_path / "all").to_bytes() != head_of(tmp_path / "without").to_bytes()
    (tmp_path / "all/flowers/head.npz").write_bytes(head_of(tmp_path / "all").to_bytes())
    assert forget_site(tmp_path / "all", "lyon") == 1
    assert not (tmp_path / "all/flowers/head.npz").exists()
    upload(tmp_path / "all", "lyon", sum_up(features, truth), NOW + 10)  # it was late
    assert head_of(tmp_path / "all").to_bytes() == head_of(tmp_path / "without").to_bytes()
    assert merge(tmp_path / "all").time_ms > NOW  # so that the next version follows the last


def test_all_sums_are_projected_to_the_fewest_features(tmp_path: Path):
    features, truth = draw(900)
    parts = [sum_up(features[rows], truth[rows]) for rows in (slice(0, 300), slice(300, 600), slice(600, 900))]
    for name, sums in zip("abc", (parts[0], parts[1].project(70), parts[2].project(64)), strict=True):
        upload(tmp_path, name, sums)
    upload(tmp_path, "d", parts[0].project(8))
    merging = merge(tmp_path)
    assert merging.sites == {"a": 300, "b": 300, "c": 300}
    assert "d is left out" in merging.lines[0]
    assert "projected to 64 of 80 features" in merging.lines[-1]
    held_out, answers = draw(500, seed=1)
    head = head_of(merging)
    assert head.head.kernel.shape == (SIZE, 3)
    logits = head.head(held_out.astype(np.float64))
    assert np.mean(logits.argmax(axis=1) == answers) > 0.9


@pytest.mark.parametrize("images", [150, 3000])
def test_the_scores_of_a_merged_head_are_about_logits(images: int, tmp_path: Path):
    """Also with fewer images than features, so that the temperature, which sites judge at a few values, is near 1."""
    features, truth = draw(images)
    upload(tmp_path, "a", sum_up(features, truth))
    head = head_of(tmp_path)
    held_out, answers = draw(2000, seed=1)
    found = fit_temperature(head.head(held_out.astype(np.float64)), answers, prior_correction(head.label_weights))
    assert 0.7 < found < 1.4


def test_names_of_one_class_are_brought_together_and_reported(tmp_path: Path):
    features, truth = draw(300)
    upload(tmp_path, "a", sum_up(features, truth, ("Daisy ", "rose", "TULIP")))
    upload(tmp_path, "b", sum_up(features, truth, ("daisy", "Rosé", "ox-eye daisy")))
    upload(tmp_path, "c", sum_up(features, truth, ("daisy", "rose", "ox_eye  Daisy")))
    merging = merge(tmp_path, renames={"Rosé": "rose"})
    assert head_of(merging).labels == ("daisy", "rose", "tulip", "ox-eye daisy")
    assert merging.sums is not None
    assert merging.sums.counts.sum() == 900
    rare = int((truth == 2).sum())
    assert f"the class 'ox_eye  Daisy' ({rare} images) counts as 'ox-eye daisy'" in merging.lines
    assert len([line for line in merging.lines if "counts as" in line]) == 4
    names, _ = reconcile({"a": 1, "A": 5, "A ": 2}, ("a", "A"), {})
    assert names["a"] == "a"
    assert names["A"] == "A"  # both are classes of the base
    assert names["A "] == "A "
    names, lines = reconcile({"e\u0301": 2, "\u00e9": 3, "x": 1}, (), {"x": "y", "z": "y"})
    assert names == {"e\u0301": "\u00e9", "\u00e9": "\u00e9", "x": "y"}
    assert lines[-1] == "no site has a class 'z' to rename"


def repack(sums: FeatureSums, change: Callable[[bytes], bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """Return a file of sums with one array changed, and stored by a method whose damage has an error of its own."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(sums.to_bytes())) as old, zipfile.ZipFile(out, "w", method) as new:
        for name in old.namelist():
            new.writestr(name, change(old.read(name)) if name == "shift.npy" else old.read(name))
    content = out.getvalue()
    return content if method == zipfile.ZIP_STORED else content[:60] + b"\xff" * 30 + content[90:]


def test_a_hostile_file_is_left_out_with_a_line_and_stops_nothing(tmp_path: Path):
    features, truth = draw(300)
    good = sum_up(features, truth)
    upload(tmp_path, "good", good)
    expected = head_of(tmp_path)
    broken = good.totals.copy()
    broken[0, 0, 0] = np.nan
    upload(tmp_path, "cut", good.to_bytes()[:-1000])
    upload(tmp_path, "nan", replace(good, totals=broken))
    upload(tmp_path, "huge", replace(good, products=good.products * 1e200).to_bytes())
    upload(tmp_path, "stranger", replace(good, origin=replace(ORIGIN, backbone="b2")))
    upload(tmp_path, "shy", replace(good, labels=("daisy", "rose", "tu\x1blip")))
    upload(tmp_path, "empty", FeatureSums.empty(LABELS, ORIGIN, POINT))
    upload(tmp_path, "other", b"no npz")
    upload(tmp_path, "nameless", replace(good, labels=("daisy", "rose", "")))
    encrypted = bytearray(good.to_bytes())
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        encrypted[encrypted.find(mark) + place] |= 1
    upload(tmp_path, "encrypted", bytes(encrypted))
    upload(tmp_path, "packed", repack(good, lambda text: text, zipfile.ZIP_LZMA))
    upload(tmp_path, "described", repack(good, lambda text: text.replace(b"{", b"(")))
    upload(tmp_path, "thin", replace(good, counts=np.full(3, 1e-320)).to_bytes())
    many = [str(number) for number in range(2000)]
    upload(tmp_path, "varied", good.with_labels([*LABELS, *many]).add(np.zeros((2000, SIZE)), np.arange(3, 2003)))
    upload(tmp_path, "crowded", replace(good, groups=10**400))
    upload(tmp_path, "changed", good).write_bytes(b"changed on disk")
    (tmp_path / "flowers/sums/.partial.npz").write_bytes(b"")
    merging = merge(tmp_path)
    assert merging.sites == {"good": 300}
    assert head_of(merging).to_bytes() == expected.to_bytes()
    assert len(merging.lines) == 15
    for site in (
        "cut",
        "nan",
        "huge",
        "stranger",
        "shy",
        "empty",
        "other",
        "nameless",
        "encrypted",
        "packed",
        "thin",
        "varied",
        "described",
        "crowded",
        "changed",
    ):
        assert any(site in line for line in merging.lines), site


def test_a_site_whose_clock_was_wrong_once_counts(tmp_path: Path):
    """Its later numbers follow the one of the future; a version has none of them."""
    features, truth = draw(300)
    upload(tmp_path, "a", sum_up(features[:200], truth[:200]), 10**17)
    upload(tmp_path, "a", sum_up(features, truth), 10**17 + 1)
    merging = merge(tmp_path)
    assert (merging.sites, merging.time_ms) == ({"a": 300}, 0)


def test_classes_that_no_site_has_are_named(tmp_path: Path):
    features, truth = draw(300)
    upload(tmp_path, "a", sum_up(features[truth > 0], truth[truth > 0]))
    assert merge(tmp_path).missing == ("daisy",)
    upload(tmp_path, "a", sum_up(features[truth > 1], truth[truth > 1]), NOW + 1)
    assert merge(tmp_path).missing == ("daisy", "rose")
    upload(tmp_path, "b", sum_up(features[truth == 0], truth[truth == 0]))
    assert merge(tmp_path).missing == ("rose",)
