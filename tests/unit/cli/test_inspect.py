"""`eaves inspect` of an artifact: words and tables for people, everything as JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from eaves.artifact import Artifact, Evidence, Manifest, Parity, Quantisation, Trial
from eaves.cli import cli
from eaves.cli.display.artifact_view import describe_artifact, megabytes, table
from tests.fakes.models.artifact import write_colours


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return write_colours(tmp_path / "artifact")


def inspect(artifact: Artifact, *arguments: str) -> str:
    result = CliRunner().invoke(cli, ["inspect", str(artifact.path), *arguments])
    assert result.exit_code == 0
    return result.stdout


def words(artifact: Artifact) -> str:
    return "\n".join(f"{name}: {value}" for _, lines in describe_artifact(artifact) for name, value in lines)


def with_manifest(artifact: Artifact, manifest: Manifest) -> Artifact:
    return replace(artifact, manifest=manifest)


def test_people_read_sentences(artifact: Artifact) -> None:
    output = inspect(artifact)
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
    values = json.loads(inspect(artifact, "-o", "json"))
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


def test_int8_is_reported_with_its_table(artifact: Artifact) -> None:
    manifest = replace(artifact.manifest, precision="int8", quantisation=INT8)
    reported = words(with_manifest(artifact, manifest))
    assert "precision: int8 (setting: auto)" in reported
    assert "because: int8 names as many images right as fp32." in reported
    assert "evidence: labels, suffices" in reported
    assert "accuracy lost: at most 1.24% with 95 % confidence, 3.00% allowed; 4 lost and 1 gained of 550" in reported
    assert "fp32's label: on 98.0% of 550 images, at least 96.7% with 95 % confidence; required: 95.0%" in reported
    assert [(row["model"], row["picking"], row["drop"], row["size"]) for row in table(manifest)] == [
        ("fp32", "", "", "87.00 MB"),
        ("int8, head in fp32", "62.0%", "", "22.00 MB"),
        ("int8, 2 more layers in fp32", "98.5%", "+0.5 points", "25.00 MB"),
    ]


def test_evidence_that_does_not_suffice_says_so_and_names_classes(artifact: Artifact) -> None:
    evidence = replace(INT8.evidence, passed=False, classes_beyond=("red",))
    manifest = replace(artifact.manifest, precision="int8", quantisation=replace(INT8, evidence=evidence))
    reported = words(with_manifest(artifact, manifest))
    assert "evidence: labels, does not suffice by itself" in reported
    assert "classes beyond: red" in reported


def test_a_proof_that_failed_is_loud(artifact: Artifact) -> None:
    manifest = replace(artifact.manifest, parity=Parity(images=3, passed=False))
    assert "DIFFERS from the trained model" in words(with_manifest(artifact, manifest))


def test_many_labels_are_cut_and_counted(artifact: Artifact) -> None:
    manifest = replace(artifact.manifest, labels=tuple(f"label-{number}" for number in range(1000)))
    reported = words(with_manifest(artifact, manifest))
    assert "1000 labels" in reported
    assert "label-11, ..." in reported
    assert "label-12" not in reported


def test_a_licences_whole_text_is_not_printed(artifact: Artifact) -> None:
    manifest = replace(artifact.manifest, licences={"model": "MIT License\n\nCopyright ...", "onnx": "x" * 500})
    reported = words(with_manifest(artifact, manifest))
    assert "model's licence: MIT License\n" in reported
    assert "x" * 61 not in reported


@pytest.mark.parametrize(("size", "text"), [(0, "0 bytes"), (9999, "9999 bytes"), (87_040_000, "87.04 MB")])
def test_sizes_are_readable(size: int, text: str) -> None:
    assert megabytes(size) == text
