"""Sums of good images at each position give the same scores at many sites as at one, and judgements add up."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from eaves.artifact.manifest import ANOMALOUS, NORMAL
from eaves.errors import RunError
from trainer.federation.judgement import SCORE_EDGES, AnomalyJudgement, judge_anomalies
from trainer.federation.merging import find_superseded, merge_sites
from trainer.federation.privacy import add_noise, find_scale
from trainer.model.anomaly import Gaussian
from trainer.model.feature_sums import FeatureSums, SumsOrigin, build_projection

ORIGIN = SumsOrigin(recipe="r1", backbone="b1")
POSITIONS, SIZE = 6, 80
Array = npt.NDArray[Any]


def draw(count: int, seed: int = 0) -> Array:
    """Features, (count, POSITIONS, SIZE), that are far from zero and correlated."""
    rng, mixing = np.random.default_rng(seed), np.random.default_rng(99).normal(size=(POSITIONS, SIZE, SIZE))
    rows = np.einsum("npd,pde->npe", rng.normal(size=(count, POSITIONS, SIZE)), mixing)
    return np.asarray(20 + rows, np.float32)


POINT = draw(8, seed=5).mean(axis=0, dtype=np.float64)


def sum_up(features: Array) -> FeatureSums:
    empty = FeatureSums.empty((NORMAL,), ORIGIN, POINT)
    return empty.add(features, np.zeros(len(features), np.int64), groups=len(features))


def upload(folder: Path, site: str, content: bytes, sequence: int = 1) -> Path:
    """Write a file of sums as a receiver does."""
    path = folder / "parts/sums" / f"{site}-{sequence}-{hashlib.sha256(content).hexdigest()[:16]}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def merge(folder: Path, *, is_diagonal: bool = False) -> FeatureSums:
    merging = merge_sites(folder / "parts", ORIGIN, (POSITIONS, SIZE), (NORMAL,), is_diagonal=is_diagonal)
    assert merging.sums is not None, merging.lines
    return merging.sums


@pytest.mark.parametrize("is_diagonal", [False, True])
def test_three_sites_give_the_scores_of_all_images_at_once(is_diagonal: bool, tmp_path: Path):
    features, others = draw(300), draw(50, seed=1)
    for number in range(3):
        part = sum_up(features[number::3][: 100 - 20 * number])
        upload(tmp_path, f"s{number}", part.to_bytes(np.float32, is_diagonal=is_diagonal))
    whole = np.concatenate([features[number::3][: 100 - 20 * number] for number in range(3)])
    merged = merge(tmp_path, is_diagonal=is_diagonal)
    found, wanted = (Gaussian.fit(sums, full=not is_diagonal) for sums in (merged, sum_up(whole)))
    np.testing.assert_allclose(found.mean, whole.mean(axis=0, dtype=np.float64), rtol=1e-6)
    np.testing.assert_allclose(found.score(others), wanted.score(others), rtol=1e-6)
    assert merged.products[:, 0, 1].any() != is_diagonal


def test_a_file_of_variances_is_small_and_a_faulty_one_is_refused():
    sums = sum_up(draw(30))
    small, large = sums.to_bytes(np.float32, is_diagonal=True), sums.to_bytes(np.float32)
    assert len(small) < 4 * POSITIONS * SIZE * 6
    assert len(large) > 4 * POSITIONS * SIZE * SIZE // 2
    read = FeatureSums.from_bytes(small, "sums", (POSITIONS, SIZE))
    np.testing.assert_allclose(np.einsum("pdd->pd", read.products), np.einsum("pdd->pd", sums.products), rtol=1e-6)
    for damaged in (small.replace(b"(6, 80)", b"(80, 6)"), small[:-200]):
        with pytest.raises(RunError, match="is not a usable file of sums"):
            FeatureSums.from_bytes(damaged, "sums", (POSITIONS, SIZE))
    for content, shape in ((small, None), (large, (POSITIONS, SIZE)), (small, (POSITIONS, 2 * SIZE))):
        with pytest.raises(RunError, match="is not a usable file of sums"):
            FeatureSums.from_bytes(content, "sums", shape)


def test_projected_sums_give_the_scores_of_projected_features(tmp_path: Path):
    features, others = draw(300), draw(50, seed=1)
    upload(tmp_path, "a", sum_up(features[:150]).project(70).to_bytes(np.float32))
    upload(tmp_path, "b", sum_up(features[150:]).project(64).to_bytes(np.float32))
    merged, matrix = merge(tmp_path), build_projection(SIZE, 64)
    projected = FeatureSums.of(features @ matrix, np.zeros(300, np.int64), (NORMAL,))
    wanted = Gaussian.fit(projected, full=True).score(others @ matrix)
    expanded = Gaussian.fit(merged, full=True).expand(SIZE)
    assert expanded.whitening.shape == (POSITIONS, SIZE, SIZE)
    np.testing.assert_allclose(expanded.score(others), wanted, rtol=1e-5)


def test_noise_hides_an_image_at_all_positions_together():
    """The norm of an image's features at all positions is the bound, so the sums change by as much as those of one."""
    sums = FeatureSums.empty((NORMAL,), ORIGIN, np.zeros((POSITIONS, SIZE)))
    image = np.ones((1, POSITIONS, SIZE)) / np.sqrt(POSITIONS * SIZE)
    added = sums.add(image, np.zeros(1, np.int64))
    assert np.linalg.norm(added.totals) == pytest.approx(1)
    assert np.linalg.norm(added.products) <= 1
    noisy = add_noise(sums, 2.0, 1.0, np.random.default_rng(0))
    assert noisy.totals.std() == pytest.approx(2 * np.sqrt(3) * find_scale(1.0), rel=0.1)
    free = replace(sums, products=1e6 * np.eye(SIZE) + sums.products)  # noise makes none of these negative
    noise = add_noise(free, 2.0, 1.0, np.random.default_rng(0)).products - free.products
    assert np.einsum("pdd->pd", noise).std() == pytest.approx(4 * np.sqrt(3) * find_scale(1.0), rel=0.1)
    assert noise[:, *np.triu_indices(SIZE, 1)].std() == pytest.approx(4 * np.sqrt(1.5) * find_scale(1.0), rel=0.05)
    noisy = add_noise(sum_up(draw(100)), 50.0, 1.0, np.random.default_rng(0))
    assert np.isfinite(Gaussian.fit(noisy, full=True).score(draw(3))).all()


def judge_images(chosen: Any = slice(None)) -> AnomalyJudgement:
    rng = np.random.default_rng(2)
    scores = np.where(np.arange(1500) < 1000, rng.gamma(60, 0.2, 1500), rng.gamma(9, 4, 1500))
    truth = np.where(np.arange(1500) < 1000, NORMAL, ANOMALOUS)[chosen].tolist()
    groups = [f"g{number // 2}" for number in range(1500)][chosen]
    return judge_anomalies("head", scores[chosen], (scores > 16)[chosen].astype(np.int64), truth, groups, "serving")


def test_judgements_of_anomalies_add_up_and_fit_into_10_kb():
    whole, parts = judge_images(), judge_images(slice(0, 1200)).merge(judge_images(slice(1200, None)))
    assert (parts.groups == whole.groups).all()
    assert whole.groups.sum(axis=(1, 2)).tolist() == [500, 250]
    assert len(content := whole.to_json()) < 10_000
    assert AnomalyJudgement.from_json(content, "file").to_json() == content
    places = np.nonzero(whole.groups[0, 0])[0]
    assert SCORE_EDGES[places[0] - 1] < 16 < SCORE_EDGES[places[-1]] * 1.01
    one = judge_anomalies("head", np.array([4.0, 1.0, 9.0]), np.array([0, 0, 1]), [NORMAL] * 3, ["a", "a", "b"], "s")
    edges = np.array([SCORE_EDGES[np.nonzero(row)[0]] for row in one.groups[0]])[:, 0]
    np.testing.assert_array_less([4.0, 9.0], edges)
    np.testing.assert_array_less(edges, [4.0 * 1.0101, 9.0 * 1.0101])


@pytest.mark.parametrize(
    "change",
    [
        {"groups": [[[1, 2]]]},
        {"groups": np.full((2, 2, len(SCORE_EDGES)), 1000).tolist()},
        {"groups": np.full((2, 2, len(SCORE_EDGES)), -1).tolist()},
        {"groups": np.full((2, 2, len(SCORE_EDGES)), 0.5).tolist()},
        {"labels": [NORMAL]},
    ],
)
def test_a_hostile_judgement_of_anomalies_is_refused(change: dict[str, Any]):
    content = json.dumps({**json.loads(judge_images().to_json()), **change}).encode()
    with pytest.raises(RunError, match=r"here-1\.json is not a usable judgement"):
        AnomalyJudgement.from_json(content, "here-1.json")


def test_only_the_newest_file_of_a_site_stays(tmp_path: Path):
    content = sum_up(draw(30)).to_bytes(np.float32)
    old, new, other = (upload(tmp_path, site, content, number) for site, number in (("a", 1), ("a", 2), ("b", 1)))
    gone, partial = upload(tmp_path, "c", content), old.with_name(f".{old.name}.tmp")
    partial.write_bytes(b"")
    (tmp_path / "forgotten.json").write_text('{"c": 1}')
    assert find_superseded(tmp_path / "parts") == {old: "a", gone: "c"}
    assert len({old, new, other, partial, gone}) == len(list(old.parent.iterdir()))
