"""The manifest: canonical bytes, and nothing taken on trust when they are read."""

import json
import re
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eaves.artifact import AnomalyRule, LabelScores, Manifest, Parity, TensorSpec
from eaves.artifact.manifest import MAX_ODDS, SCHEMA_VERSION, FileEntry, label_output, log_odds, parse_manifest
from eaves.errors import ArtifactError
from eaves.recipe import Recipe
from tests.fakes.models.artifact import build_manifest, fill


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return build_manifest(fill(tmp_path / "staging"))


def test_the_digest_depends_on_the_content_alone(manifest: Manifest, tmp_path: Path):
    again = build_manifest(fill(tmp_path / "elsewhere"))
    assert again.digest() == manifest.digest() == parse_manifest(manifest.to_json()).digest()
    assert build_manifest(tmp_path / "elsewhere", version="2").digest() != manifest.digest()
    assert build_manifest(tmp_path / "elsewhere", files={}).digest() != manifest.digest()


def changed(manifest: Manifest, change: Callable[[dict[str, Any]], object]) -> bytes:
    values = json.loads(manifest.to_json())
    change(values)
    return json.dumps(values).replace(": Infinity", ": 1e999").encode()  # JSON has no infinite number but this


DIGEST = "0" * 64
CHANGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "newer schema": (
        lambda it: it.update(schema_version=SCHEMA_VERSION + 1),
        "schema_version",
    ),
    "too few label weights": (
        lambda it: it.update(decision={"label_weights": [1, 0.5]}),
        "decision.label_weights: must be empty, or have one number for each label .got 2 for 3 labels",
    ),
    "a label that never wins": (
        lambda it: it.update(decision={"label_weights": [1, 0, 1]}),
        r"decision\.label_weights\[1\]: must be > 0 .got 0",
    ),
    "recipe with an unknown field": (lambda it: it["recipe"].update(rotate=90), "rotate"),
    "a label that colours the terminal": (
        lambda it: it.update(labels=["\x1b[31mred"]),
        r"labels\[0\]: must be printable",
    ),
    "a label twice": (lambda it: it.update(labels=["a", "b", "a"]), "labels: must be unique .'a' occurs twice"),
    "files as a list": (lambda it: it.update(files=[]), "malformed"),
    "a short digest": (lambda it: it["files"]["labels.txt"].update(sha256="abc"), "64 hex digits"),
    "tolerance that allows all": (lambda it: it["parity"].update(tolerance=1e999), "tolerance"),
    "int8 that never shipped": (lambda it: it.update(precision="int8"), "precision: is int8, but"),
    "an interval the wrong way round": (
        lambda it: it["quantisation"].update(interval_95_fp32=[0.9, 0.1]),
        "must be two numbers, low and high",
    ),
    "a recipe for numbers": (lambda it: it.update(task="tensor"), "recipe must be null where the task is tensor"),
    "features that are no output": (lambda it: it.update(task="embed"), "outputs: must name features"),
    "numbers without outputs": (
        lambda it: it.update(task="tensor", recipe=None, outputs=[]),
        "task: task tensor needs",
    ),
}


@pytest.mark.parametrize("case", CHANGES)
def test_what_is_no_manifest_is_refused_and_named(manifest: Manifest, case: str):
    change, message = CHANGES[case]
    with pytest.raises(ArtifactError, match=message):
        parse_manifest(changed(manifest, change))


def test_a_model_of_numbers_has_no_recipe_and_perhaps_no_labels(manifest: Manifest):
    tensor = replace(manifest, task="tensor", recipe=None, labels=())
    assert parse_manifest(tensor.to_json()) == tensor
    with pytest.raises(ArtifactError, match="task tensor and takes no images"):
        _ = tensor.image_recipe


LABELS = ("a", "b", "c")
ROWS = TensorSpec(name="rows", shape=(-1, 3))


def test_labels_of_numbers_are_of_one_output():
    other = TensorSpec(name="other", shape=(-1, 2))
    assert label_output(LABELS, (other, ROWS)) == "rows"
    assert label_output((), (ROWS,)) == ""
    for outputs in ((other,), (ROWS, replace(ROWS, name="again"))):
        with pytest.raises(ArtifactError, match=r"3 labels, but [02] outputs with one number for each label"):
            label_output(LABELS, outputs)


RULE = AnomalyRule(good="good", method="gaussian", threshold=3.0, calibration=(1.0, 2.0, 2.0, 2.5), groups=4)


@pytest.fixture
def anomaly(manifest: Manifest) -> Manifest:
    outputs = (*(TensorSpec(name=name, shape=(-1, 2)) for name in ("logits", "probabilities")),)
    outputs += (TensorSpec(name="map", shape=(-1, 4, 4)),)
    return replace(manifest, task="anomaly", labels=("normal", "anomalous"), outputs=outputs, anomaly=RULE)


def test_the_rule_of_an_anomaly_model_is_read_back_and_no_other_manifest_has_the_key(
    manifest: Manifest, anomaly: Manifest
):
    assert parse_manifest(anomaly.to_json()) == anomaly
    assert "anomaly" not in json.loads(manifest.to_json())


SCORES = (LabelScores(edges=(-1.0, 0.5, 2.0), groups=2), LabelScores(edges=(1.0,), groups=1), LabelScores())


def test_the_scores_of_labels_are_read_back_and_a_manifest_without_them_has_no_key(manifest: Manifest):
    known = replace(manifest, label_scores=SCORES)
    assert parse_manifest(known.to_json()) == known
    assert "label_scores" not in json.loads(manifest.to_json())
    for change, message in (
        (lambda it: it["label_scores"].pop(), "label_scores: must have one entry for each label"),
        (lambda it: it["label_scores"][0].update(edges=[2, 1]), r"label_scores\[0\].edges: must be finite and in asc"),
        (lambda it: it["label_scores"][0].update(edges=[0] * 8), r"label_scores\[0\].edges: must have at most 7"),
        (lambda it: it["label_scores"][2].update(groups=1), r"label_scores\[2\].edges: must have .* some if there are"),
    ):
        with pytest.raises(ArtifactError, match=message):
            parse_manifest(changed(known, change))


@pytest.mark.parametrize("images", [1, 3, 7, 80])
@pytest.mark.parametrize("certain", [0.0, 0.7])  # share of the images whose score is as high as one can be
def test_ranks_of_new_images_are_spread_over_all_bins(images: int, certain: float):
    """Each eighth is as likely, whatever the scores are."""
    rng, found = np.random.default_rng(3), np.zeros(8)
    for _ in range(4_000):
        drawn = rng.normal(size=images + 1)
        drawn[rng.random(len(drawn)) < certain] = MAX_ODDS
        count = min(images, 7)
        shares = [one / (count + 1) for one in range(1, count + 1)]
        edges = np.quantile(drawn[:images], shares, method="weibull")
        scores = LabelScores(edges=tuple(edges.tolist()), groups=images)
        ranks = [scores.rank(odds, rng.random()) for odds in drawn[images:]]
        found += np.histogram(ranks, bins=8, range=(0, 1))[0]
    coarse = found.reshape(min(8, images + 1), -1).sum(axis=1)  # so many places has a calibration of few images
    # Equal scores are spread over whole eighths, of which they may fill a part only.
    assert np.allclose(coarse / coarse.sum(), 1 / len(coarse), atol=0.06 if certain else 0.02)


def test_an_image_that_is_less_certain_than_all_ranks_lower():
    ranks = [SCORES[0].rank(odds, 0.5) for odds in (-20.0, -3.0, -1.1, -1.0, 0.0, 1.0, 9.0)]
    assert ranks == sorted(ranks)
    assert ranks[0] < 1e-6
    assert (ranks[4], ranks[-1]) == (0.375, 0.875)
    assert log_odds(0.5, 0.5) == 0
    assert (log_odds(1, 0), log_odds(0, 1)) == (MAX_ODDS, -MAX_ODDS)


ANOMALY_CHANGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "no rule": (lambda it: it.pop("anomaly"), "anomaly: must be given if the task is anomaly"),
    "a rule of another task": (lambda it: it.update(task="classify"), "anomaly: must be given .*, and only then"),
    "no mapping": (lambda it: it.update(anomaly=3), "anomaly: must be a mapping"),
    "no threshold": (lambda it: it["anomaly"].pop("threshold"), "anomaly.threshold: is required"),
    "other labels": (lambda it: it.update(labels=["anomalous", "normal"]), "labels: must be normal and anomalous"),
    "weights": (lambda it: it.update(decision={"label_weights": [1, 2]}), "without weights"),
    "no map": (lambda it: it["outputs"].pop(), "outputs: must name map, with three axes"),
    "a flat map": (lambda it: it["outputs"][2].update(shape=[-1, 16]), "outputs: must name map, with three axes"),
    "unsorted": (lambda it: it["anomaly"].update(calibration=[2, 1]), "anomaly.calibration: must be in ascending"),
    "no scores": (lambda it: it["anomaly"].update(calibration=[]), "anomaly.calibration: must have 1 to 1000"),
    "promise of too few groups": (
        lambda it: it["anomaly"].update(groups=58, false_alarms=0.05, confidence=0.95),
        "false_alarms: 0.05 can't be promised from 58 groups",
    ),
    "promise without confidence": (
        lambda it: it["anomaly"].update(groups=100, false_alarms=0.05),
        "false_alarms: 0.05 can't be promised",
    ),
}


@pytest.mark.parametrize("case", ANOMALY_CHANGES)
def test_what_is_no_rule_for_anomalies_is_refused_and_named(anomaly: Manifest, case: str):
    change, message = ANOMALY_CHANGES[case]
    with pytest.raises(ArtifactError, match=message):
        parse_manifest(changed(anomaly, change))


@pytest.mark.parametrize(("score", "p_value"), [(0.5, 1), (1.0, 1), (2.0, 0.8), (2.2, 0.4), (2.5, 0.4), (9.0, 0.2)])
def test_a_p_value_counts_the_good_images_that_score_as_high(score: float, p_value: float):
    assert RULE.p_value(score) == pytest.approx(p_value)


@pytest.mark.parametrize(
    ("groups", "share", "text"),
    [
        (59, 0.05, "at most 5 in 100 good images raise an alarm, with 95 % confidence, from 59 groups of good images"),
        (100, 0.0295131, "at most 3 in 100 .* from 100 groups"),
        (2995, 0.001, "at most 1 in 1,000 .* from 2,995 groups"),
        (24, 0, "not promised: it takes 59 groups of good images, and there are 24$"),
        (70, 0, "not promised$"),
    ],
)
def test_a_promise_names_no_more_than_the_groups_show(groups: int, share: float, text: str):
    rule = replace(RULE, groups=groups, false_alarms=share, confidence=0.95 if share else 0.0)
    assert not list(rule.faults())
    assert list(replace(rule, calibration=(1.0, float("inf"))).faults())
    assert re.search(text, rule.promise())


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
FIELDS = [field.name for field in fields(Manifest) if field.name != "schema_version"]


@given(st.dictionaries(st.sampled_from(FIELDS), VALUES, min_size=1, max_size=3))
def test_whatever_a_field_holds_there_is_a_manifest_or_an_artifact_error(changes: dict[str, Any]):
    template = json.loads(
        Manifest(
            name="n",
            version="v",
            labels=("a",),
            input=TensorSpec(),
            outputs=tuple(TensorSpec(name=name, shape=(-1, 1)) for name in ("logits", "probabilities")),
            recipe=Recipe(height=8, width=8),
            parity=Parity(),
            files={"model.onnx": FileEntry(size_bytes=1, sha256=DIGEST)},
            golden_tolerance=1e-3,
        ).to_json()
    )
    parse_manifest(json.dumps(template).encode())
    try:
        parse_manifest(json.dumps({**template, **changes}).encode())
    except ArtifactError as error:
        assert error.message  # noqa: PT017


BAD_PATHS = ["", "..", "/etc/passwd", "a/../../b", "./a", "a//b", "a\\b", "a\0b", "\u202ea", "x" * 256]


@pytest.mark.parametrize("path", BAD_PATHS, ids=repr)
def test_paths_that_may_leave_the_artifact_are_refused(manifest: Manifest, path: str):
    entry = {"size_bytes": 1, "sha256": DIGEST}
    with pytest.raises(ArtifactError, match="may lead outside the artifact"):
        parse_manifest(changed(manifest, lambda it: it["files"].update({path: entry})))
