"""The conversion's page, read back as a browser would."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from converters.report_page import build_page, build_verdict, page_path, write_page
from eaves.artifact import Artifact, DecisionRule, Evidence, Quantisation, Trial
from eaves.artifact.golden import INDEX, load_golden, write_index
from eaves.artifact.manifest import TensorSpec
from eaves.errors import ArtifactError
from tests.fakes.models.artifact import write_colours
from tests.page import Page, assert_self_contained

HOSTILE = "<script>alert(1)</script>"
TRIALS = (
    Trial(judged=False, picking_agreement=0.93, size_bytes=22_400_000),
    Trial(
        kept_fp32=("conv2d", "mixed0/conv2d_7"),
        picking_agreement=0.985,
        accuracy=0.773,
        interval_95=(0.737, 0.805),
        agreement=0.982,
        drop=0.007,
        size_bytes=23_800_000,
    ),
)
SHOWN = Evidence(
    kind="labels",
    passed=True,
    labelled_images=550,
    lost=7,
    gained=3,
    drop_bound_95=0.0171,
    images=550,
    agreement=0.982,
    agreement_bound_95=0.97,
    min_agreement=0.95,
)
TRIED = Quantisation(
    asked="auto",
    reason="Why & how.",
    images=550,
    accuracy_fp32=0.78,
    interval_95_fp32=(0.744, 0.812),
    size_bytes_fp32=87_300_000,
    max_accuracy_drop=0.03,
    evidence=replace(SHOWN, passed=False),
    trials=TRIALS,
    calibration_images=100,
    picking_images=200,
)
HELD = replace(TRIED, shipped=True, evidence=SHOWN)
AGREES = replace(HELD, evidence=replace(SHOWN, kind="agreement", images=2550, agreement_bound_95=0.9771))
OWN = replace(HELD, asked="int8", evidence=TRIED.evidence)
UNTRIED = Quantisation(asked="auto", reason="There are no labelled images.")
ASKED = Quantisation()


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return write_colours(tmp_path / "colours-1.2")


def with_changes(artifact: Artifact, quantisation: Quantisation, **changes: Any) -> Artifact:
    precision = "int8" if quantisation.shipped else "fp32"
    manifest = replace(artifact.manifest, quantisation=quantisation, precision=precision, **changes)
    return replace(artifact, manifest=manifest)


def read(artifact: Artifact, quantisation: Quantisation, **changes: Any) -> Page:
    return Page(build_page(with_changes(artifact, quantisation, **changes)))


def test_it_is_whole_and_asks_nothing_of_a_network(artifact: Artifact) -> None:
    for quantisation in (HELD, TRIED, AGREES, OWN, UNTRIED, ASKED):
        assert_self_contained(build_page(with_changes(artifact, quantisation)))


def test_names_are_shown_as_they_are_and_run_nothing(artifact: Artifact) -> None:
    found = replace(HELD, trials=(replace(TRIALS[1], kept_fp32=(HOSTILE,)),), reason=HOSTILE)
    page = read(artifact, found, name=HOSTILE, version=HOSTILE, labels=(HOSTILE, 'a & "b"', "red"))
    assert "script" not in {tag for tag, _ in page.tags}
    assert page.text.count(HOSTILE) >= 5
    assert HOSTILE in {attrs.get("title") for _, attrs in page.tags}


HEADLINES: dict[str, tuple[Quantisation, str, bool]] = {
    "labels": (HELD, "int8 loses at most 1.8 points of accuracy", False),
    "agreement": (AGREES, "int8 agrees with fp32 on at least 97.7% of images", False),
    "not shown": (TRIED, "fp32: int8 was tried, but is not proven to be as good", True),
    "its owner's decision": (OWN, "int8, as set by convert.precision: the evidence does not suffice", True),
    "not tried": (UNTRIED, "fp32: int8 was not tried", True),
    "not asked for": (ASKED, "fp32, as set by convert.precision", False),
}


@pytest.mark.parametrize("case", HEADLINES)
def test_the_headline_says_what_ships_and_is_loud_where_int8_is_not_shown_to_be_as_good(
    artifact: Artifact, case: str
) -> None:
    quantisation, title, is_loud = HEADLINES[case]
    found = with_changes(artifact, quantisation)
    verdict = build_verdict(found.manifest)
    assert (verdict.title, verdict.loud) == (title, is_loud)
    assert ("Read this before deploying" in Page(build_page(found)).text) is is_loud


def test_the_evidence_is_reported_with_its_numbers(artifact: Artifact) -> None:
    words = read(artifact, HELD).words
    for part in (
        "Accuracy 0.773 against fp32's 0.780 on 550 labelled images: only fp32 is right on 7, only int8",
        "int8 and fp32 predict the same label on 98.2% of 550 images.",
        "Why & how.",
        "3.7 × smaller than fp32",
        "int8 only the head in fp32 – 93.0 % – – 22.40 MB",
        "int8, ships 2 more in fp32: conv2d, mixed0/conv2d_7 0.773 0.737 to 0.805 98.5 % 98.2 % +0.7 23.80 MB",
        "picked by its answers to 200 images of the training side, and only that one is judged, on 550 images",
        "to lose at most 3.0 % of accuracy, or to give fp32's label to at least 95.0 % of 500 images",
    ):
        assert part in words
    assert "predict the same label on 98.2% of 2,550 images." in read(artifact, AGREES).words
    assert "fp32, ships 0.780 0.744 to 0.812 – – – 87.30 MB int8 only the head in fp32" in read(artifact, TRIED).words
    assert "There are no labelled images." in read(artifact, UNTRIED).text


def test_the_decision_rule_gives_the_answer_to_a_golden_picture(artifact: Artifact) -> None:
    cases = load_golden(artifact)
    write_index(artifact.path / INDEX, [*cases[:2], replace(cases[2], probabilities=(0.7, 0.0, 0.3))])
    assert "is red 0.70 blue wrong" in read(artifact, ASKED).words
    rule = DecisionRule(label_weights=(0.1, 0.1, 1.0))
    assert "is red 0.30 red" in read(artifact, ASKED, decision=rule).words


def mislabel(artifact: Artifact, label: str) -> Artifact:
    """The same artifact, with another true label for its first golden image, which it answers with blue."""
    cases = load_golden(artifact)
    write_index(artifact.path / INDEX, [replace(cases[0], label=label), *cases[1:]])
    return artifact


def test_a_wrong_golden_picture_is_the_original_models_mistake_and_no_fault_of_the_conversion(
    artifact: Artifact,
) -> None:
    assert "wrong" not in read(artifact, ASKED).words.partition("Golden pictures")[2]
    assert "wrong" not in read(mislabel(artifact, ""), ASKED).words.partition("Golden pictures")[2]
    words = read(mislabel(artifact, "red"), ASKED).words
    assert "1 of 3 golden pictures is answered wrongly. That is no fault of the conversion" in words
    assert "is red 1.00 blue wrong is green" in words
    assert "no fault of the conversion" not in read(mislabel(artifact, "red"), HELD).words


def test_the_page_begins_with_what_the_model_is_worth(artifact: Artifact) -> None:
    page = Page(build_page(with_changes(artifact, HELD), "this model is weak: <0.49>"))
    assert page.words.index("This model is weak: <0.49>.") < page.words.index("int8 loses at most")
    assert "It is not known how accurate this model is." in read(artifact, HELD).words
    outputs = (*artifact.manifest.outputs, TensorSpec(name="features", shape=(-1, 4)))
    assert "accurate" not in read(artifact, ASKED, task="embed", outputs=outputs).words


def test_a_golden_input_that_is_no_picture_has_no_preview(artifact: Artifact) -> None:
    (artifact.path / "golden/000.png").write_bytes(b"from a handler's own sensor")
    assert read(artifact, ASKED).words.count("no preview") == 1


def test_it_lies_beside_the_artifact(artifact: Artifact, tmp_path: Path) -> None:
    path = page_path(artifact.path)
    assert path.name == "colours-1.2.html"
    before = sorted(artifact.path.rglob("*"))
    write_page(artifact)
    assert artifact.digest in path.read_text(encoding="utf-8")
    assert sorted(artifact.path.rglob("*")) == before
    with pytest.raises(ArtifactError, match="golden"):
        write_page(replace(artifact, path=tmp_path / "elsewhere"))
