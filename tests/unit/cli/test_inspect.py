"""`eaves inspect` of an artifact: words and tables for people, everything as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from eaves.artifact import Artifact, Parity, Quantisation, Trial, write_artifact
from eaves.artifact.manifest import Evidence
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
        "numpy 2.0",
        "Apache-2.0",
        f"sha256:{artifact.digest}",
    ):
        assert part in output


def test_json_stays_complete(artifact: Artifact) -> None:
    values = json.loads(inspect(artifact.path, "-o", "json"))
    written = json.loads((artifact.path / "manifest.json").read_bytes())
    assert {key: values[key] for key in written} == written
    assert values["digest"] == f"sha256:{artifact.digest}"


def test_why_a_model_is_int8_is_reported(tmp_path: Path) -> None:
    evidence = Evidence(kind="labels", passed=False, labelled_images=550)
    found = Quantisation(
        asked="auto",
        shipped=True,
        reason="int8 is as good.",
        evidence=evidence,
        trials=(Trial(),),
        calibration_images=9,
    )
    reported = words(tmp_path, precision="int8", quantisation=found)
    assert "\nprecision int8 (setting: auto)\nbecause int8 is as good.\n" in reported
    assert "\nevidence labels, does not suffice by itself; the page of the conversion and -o json have all" in reported
    assert "\ncalibrated on 9 images\n" in reported


def test_a_proof_that_failed_is_loud(tmp_path: Path) -> None:
    assert "DIFFERS from the trained model" in words(tmp_path, parity=Parity(images=3, passed=False))


def test_long_lists_and_texts_are_cut(tmp_path: Path) -> None:
    labels = tuple(f"label-{number}" for number in range(1000))
    licences = {"model": "MIT License\n\nCopyright ..."}
    reported = words(tmp_path, labels=labels, licences=licences)
    assert "1000 labels" in reported
    assert "label-11, ..." in reported
    assert "label-12" not in reported
    assert "\nlicence MIT License\n" in reported
