"""Judgements of sites add up, files of sums shrink without losing the head, and damaged files are refused."""

import json
from typing import Any

import numpy as np
import pytest

from eaves.errors import RunError
from trainer.federation.head_file import MergedHead
from trainer.federation.judgement import HeadJudgement, judge
from trainer.model.feature_sums import FeatureSums, LinearHead, SumsOrigin

LABELS = tuple(f"class {number}" for number in range(20))


def build_head() -> MergedHead:
    random = np.random.default_rng(1)
    head = LinearHead(kernel=random.normal(size=(16, 20)), bias=random.normal(size=20))
    return MergedHead(labels=LABELS, origin=SumsOrigin(backbone="b"), head=head)


def judge_images(chosen: Any = slice(None)) -> HeadJudgement:
    random, head = np.random.default_rng(2), build_head()
    features, logits = random.normal(size=(3000, 16)), random.normal(size=(3000, 20))
    truth = np.array([*LABELS, "unknown"])[random.integers(0, 21, 3000)]
    rows = (features[chosen], logits[chosen], LABELS, truth[chosen].tolist())
    return judge(head, head.digest, *rows, "serving")


def test_the_judgements_of_parts_are_that_of_the_whole_and_fit_into_10_kb():
    whole, parts = judge_images(), judge_images(slice(0, 1200)).merge(judge_images(slice(1200, None)))
    for name in ("confusion", "compared", "odds"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))
    np.testing.assert_allclose(parts.losses, whole.losses)
    assert whole.confusion[-1].sum() > 0
    assert whole.confusion.sum() == 3000
    assert len(content := whole.to_json()) < 10_000
    assert HeadJudgement.from_json(content, "file").to_json() == content


@pytest.mark.parametrize(
    "change",
    [
        {"confusion": [[1]]},
        {"compared": [3000, 0]},
        {"compared": [0, 3000]},
        {"odds": [[1] * 20] * 20},
        {"losses": ["a"] * 41},
        {"labels": ["a", "a"]},
        {"format": 2},
    ],
)
def test_a_judgement_whose_numbers_contradict_each_other_is_refused(change: dict[str, Any]):
    content = json.dumps({**json.loads(judge_images().to_json()), **change}).encode()
    with pytest.raises(RunError, match=r"here-1\.json is not a usable judgement"):
        HeadJudgement.from_json(content, "here-1.json")


def test_a_head_keeps_its_digest_and_a_damaged_one_is_refused():
    head = build_head()
    content = head.to_bytes()
    assert MergedHead.from_bytes(content, "head").digest == head.digest
    for damaged in (
        b"",
        content[:-100],
        content.replace(b"weights", b"weightz"),
        b"PK" + content[2:300],
    ):
        with pytest.raises(RunError, match="is not a usable file of a head"):
            MergedHead.from_bytes(damaged, "head")


def test_a_float32_file_of_2048_features_has_8_4_mb_and_merges_to_a_millionth():
    random = np.random.default_rng(3)
    sums = [FeatureSums.of(random.normal(5, 1, (60, 2048)), np.arange(60) % 2, "ab") for _ in range(2)]
    files = [one.to_bytes(np.float32) for one in sums]
    assert len(files[0]) == pytest.approx(8.4e6, rel=0.01)
    exact, merged = (
        sums[0].merge(sums[1]),
        FeatureSums.from_bytes(files[0], "0").merge(FeatureSums.from_bytes(files[1], "1")),
    )
    for name in ("counts", "totals", "products"):
        error = np.abs(getattr(merged, name) - getattr(exact, name)).max()
        assert error < 1e-6 * np.abs(getattr(exact, name)).max()


def test_projecting_sums_is_projecting_features_at_once_or_in_steps():
    random = np.random.default_rng(4)
    sums = FeatureSums.of(random.normal(5, 1, (60, 200)), np.arange(60) % 2, "ab")
    once, twice = sums.project(64), sums.project(100).project(64)
    assert once.origin == twice.origin
    np.testing.assert_allclose(once.products, twice.products, rtol=1e-9, atol=1e-9)
    assert sums.project(200) is sums
