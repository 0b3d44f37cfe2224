"""`eaves inspect` of an artifact: words and tables for people, everything as JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from eaves.artifact import Artifact, Evidence, Parity, Quantisation, Trial, write_artifact
from eaves.artifact.store import LABELS
from eaves.cli import cli
from tests.fakes.models.artifact import build_manifest, fill, write_colours


def inspect(path: Path, *arguments: str) -> str:
    result = CliRunner().invoke(cli, ["inspect", str(path), *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def words(folder: Path, **changes: Any) -> str:
    """What is printed of an artifact whose manifest has other values, with one space between words."""
    staging = fill(folder / ".staging")
    if "labels" in changes:
        (staging / LABELS).write_text("".join(f"{label}\n" for label in changes["labels"]), encoding="utf-8")
    write_artifact(staging, folder / "artifact", build_manifest(staging, **changes))
    return "\n".join(" ".join(line.split()) for line in inspect(folder / "artifact").splitlines())


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return write_colours(tmp_path / "artifact")


def test_people_read_sentences(artifact: Artifact) -> None:
    output = inspect(artifact.path)
    for part in (
        "gives the outputs of the trained model, judged on 3 images",
        "stretched to 8 x 8",
        "precision  fp32 (setting: fp32)",
        "numpy            2.0 (BSD-3-Clause)",
        "Apache-2.0",
        f"sha256:{artifact.digest}",
    ):
        assert part in output


def test_json_stays_complete(artifact: Artifact) -> None:
    values = json.loads(inspect(artifact.path, "-o", "json"))
    written = json.loads((artifact.path / "manifest.json").read_bytes())
    assert {key: values[key] for key in written} == written
    assert values["digest"] == f"sha256:{artifact.digest}"


INT8 = Quantisation(
    asked="auto",
    shipped=True,
    reason="int8 names as many images right as fp32.",
    images=550,
    accuracy_fp32=0.91,
    interval_95_fp32=(0.88, 0.93),
    size_bytes_fp32=87_000_000,
    max_accuracy_drop=0.03,
    evidence=Evidence(
        kind="labels",
        passed=True,
        labelled_images=550,
        lost=4,
        gained=1,
        drop_bound_95=0.0124,
        images=550,
        agreement=0.98,
        agreement_bound_95=0.967,
        min_agreement=0.95,
    ),
    trials=(
        Trial(judged=False, picking_agreement=0.62, size_bytes=22_000_000),
        Trial(
            kept_fp32=("conv", "mixed0"),
            picking_agreement=0.985,
            accuracy=0.905,
            interval_95=(0.88, 0.93),
            agreement=0.98,
            drop=0.005,
            size_bytes=25_000_000,
        ),
    ),
    calibration_images=100,
)


def test_int8_is_reported_with_its_table(tmp_path: Path) -> None:
    reported = words(tmp_path, precision="int8", quantisation=INT8)
    assert "\nprecision int8 (setting: auto)\n" in reported
    assert "\nbecause int8 names as many images right as fp32.\n" in reported
    assert "\nevidence labels, suffices\n" in reported
    assert "accuracy lost at most 1.24% with 95 % confidence, 3.00% allowed; 4 lost and 1 gained of 550" in reported
    assert "fp32's label on 98.0% of 550 images, at least 96.7% with 95 % confidence; required: 95.0%" in reported
    assert "\nfp32 91.0% 88.0% - 93.0% 87.0 MB\n" in reported
    assert "\nint8, head in fp32 62.0% 22.0 MB\n" in reported
    assert "\nint8, 2 more layers in fp32 90.5% 88.0% - 93.0% 98.5% 98.0% +0.5 points 25.0 MB\n" in reported


def test_evidence_that_does_not_suffice_says_so_and_names_classes(tmp_path: Path) -> None:
    evidence = replace(INT8.evidence, passed=False, classes_beyond=("red",))
    reported = words(tmp_path, precision="int8", quantisation=replace(INT8, evidence=evidence))
    assert "evidence labels, does not suffice by itself" in reported
    assert "classes beyond red" in reported


def test_a_proof_that_failed_is_loud(tmp_path: Path) -> None:
    assert "DIFFERS from the trained model" in words(tmp_path, parity=Parity(images=3, passed=False))


def test_long_lists_and_texts_are_cut(tmp_path: Path) -> None:
    labels = tuple(f"label-{number}" for number in range(1000))
    licences = {"model": "MIT License\n\nCopyright ...", "onnx": "x" * 500}
    reported = words(tmp_path, labels=labels, licences=licences)
    assert "1000 labels" in reported
    assert "label-11, ..." in reported
    assert "label-12" not in reported
    assert "model's licence MIT License\n" in reported
    assert "x" * 61 not in reported
