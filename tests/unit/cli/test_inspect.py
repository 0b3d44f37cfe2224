"""`eaves inspect` of an artifact: the essence for people, everything as JSON."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from eaves.artifact import Artifact, write_artifact
from eaves.artifact.store import LABELS
from eaves.cli import cli
from tests.fakes.models.artifact import build_manifest, fill, write_colours


def inspect(path: Path, *arguments: str) -> str:
    result = CliRunner().invoke(cli, ["inspect", str(path), *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def write(folder: Path, **changes: Any) -> Path:
    """An artifact whose manifest has other values."""
    staging = fill(folder / ".staging")
    if "labels" in changes:
        (staging / LABELS).write_text("".join(f"{label}\n" for label in changes["labels"]), encoding="utf-8")
    write_artifact(staging, folder / "artifact", build_manifest(staging, **changes))
    return folder / "artifact"


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return write_colours(tmp_path / "artifact")


def test_json_stays_complete(artifact: Artifact):
    values = json.loads(inspect(artifact.path, "-o", "json"))
    written = json.loads((artifact.path / "manifest.json").read_bytes())
    assert {key: values[key] for key in written} == written
    assert values["digest"] == f"sha256:{artifact.digest}"


def test_a_long_list_of_labels_is_cut(tmp_path: Path):
    labels = tuple(f"label-{number}" for number in range(1000))
    shown = yaml.safe_load(inspect(write(tmp_path, labels=labels)))["labels"]
    assert shown[-2:] == ["label-11", "988 more"]
