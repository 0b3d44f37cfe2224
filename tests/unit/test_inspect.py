"""`eaves inspect` of an artifact: words and tables for people, everything as JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from eaves.artifact import Artifact, Manifest, Parity, Quantisation, Trial
from eaves.cli import cli
from eaves.cli.about import describe, megabytes, table
from tests.fakes.artifact import write_colours


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return write_colours(tmp_path / "artifact")


def inspect(artifact: Artifact, *arguments: str) -> str:
    result = CliRunner().invoke(cli, ["inspect", str(artifact.path), *arguments])
    assert result.exit_code == 0
    return result.stdout


def words(artifact: Artifact) -> str:
    return "\n".join(f"{name}: {value}" for _, lines in describe(artifact) for name, value in lines)


def with_manifest(artifact: Artifact, manifest: Manifest) -> Artifact:
    return replace(artifact, manifest=manifest)


def test_people_read_sentences(artifact: Artifact) -> None:
    output = inspect(artifact)
    for part in (
        "answers as the trained model, judged on 3 images",
        "stretched to 8 x 8",
        "precision  fp32 (asked: fp32)",
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
    max_accuracy_drop=0.01,
    trials=(
        Trial(accuracy=0.5, interval_95=(0.46, 0.54), agreement=0.52, drop=0.41, size_bytes=22_000_000),
        Trial(
            kept_fp32=("conv", "mixed0"),
            accuracy=0.905,
            interval_95=(0.88, 0.93),
            agreement=0.98,
            drop=0.005,
            size_bytes=25_000_000,
        ),
    ),
    reduce_range=True,
    calibration_images=100,
)


def test_int8_is_told_with_its_table(artifact: Artifact) -> None:
    manifest = replace(artifact.manifest, precision="int8", quantisation=INT8, targets=("x86_64_avx2",))
    told = words(with_manifest(artifact, manifest))
    assert "precision: int8 (asked: auto)" in told
    assert "because: int8 names as many images right as fp32." in told
    assert "runs on: any CPU, weights of 7 bits" in told
    assert "a drop of 1.0% would ship" in told
    assert [(row["model"], row["drop"], row["size"]) for row in table(manifest)] == [
        ("fp32", "", "87.00 MB"),
        ("int8, head in fp32", "+41.0 points", "22.00 MB"),
        ("int8, 2 more layers in fp32", "+0.5 points", "25.00 MB"),
    ]


def test_an_int8_model_that_needs_dot_products_says_so(artifact: Artifact) -> None:
    manifest = replace(artifact.manifest, precision="int8", quantisation=replace(INT8, instruction_set="vnni"))
    assert "AVX512-VNNI, AVX-VNNI or ARM" in words(with_manifest(artifact, manifest))


def test_a_proof_that_failed_is_loud(artifact: Artifact) -> None:
    manifest = replace(artifact.manifest, parity=Parity(images=3, passed=False))
    assert "DIFFERS from the trained model" in words(with_manifest(artifact, manifest))


def test_many_labels_are_cut_and_counted(artifact: Artifact) -> None:
    manifest = replace(artifact.manifest, labels=tuple(f"label-{number}" for number in range(1000)))
    told = words(with_manifest(artifact, manifest))
    assert "1000 labels" in told
    assert "label-11, ..." in told
    assert "label-12" not in told


def test_a_licences_whole_text_is_not_printed(artifact: Artifact) -> None:
    manifest = replace(artifact.manifest, licences={"model": "MIT License\n\nCopyright ...", "onnx": "x" * 500})
    told = words(with_manifest(artifact, manifest))
    assert "model's licence: MIT License\n" in told
    assert "x" * 61 not in told


@pytest.mark.parametrize(("size", "text"), [(0, "0 bytes"), (9999, "9999 bytes"), (87_040_000, "87.04 MB")])
def test_sizes_are_readable(size: int, text: str) -> None:
    assert megabytes(size) == text
