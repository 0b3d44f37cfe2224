"""docs/manifest.schema.json says what the types say, and real manifests fit it."""

import importlib.util
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from eaves.artifact import Manifest, Quantisation, Trial
from tests.fakes.models.artifact import build_manifest, fill
from tests.fakes.models.inspector import write_inspector

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def published() -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((ROOT / "docs/manifest.schema.json").read_text())
    return schema


def test_the_schema_is_fresh(published: dict[str, Any]):
    spec = importlib.util.spec_from_file_location("schema", ROOT / "docs/schema.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert published == module.build_schema(), "run: python docs/schema.py > docs/manifest.schema.json"
    jsonschema.Draft202012Validator.check_schema(published)


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return build_manifest(fill(tmp_path / "staging"))


def validate(content: bytes, schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator(schema).validate(json.loads(content))


def test_a_manifest_of_every_section_fits(manifest: Manifest, published: dict[str, Any]):
    trial = Trial(accuracy=0.9, interval_95=(0.8, 1.0), agreement=0.99, drop=-0.01, size_bytes=5, kept_fp32=("conv",))
    full = replace(
        manifest,
        precision="int8",
        quantisation=Quantisation(asked="auto", shipped=True, trials=(trial,)),
    )
    validate(full.to_json(), published)


def test_a_manifest_of_numbers_fits(manifest: Manifest, published: dict[str, Any]):
    validate(replace(manifest, task="tensor", recipe=None, labels=()).to_json(), published)


def test_a_manifest_with_a_rule_for_anomalies_fits(tmp_path: Path, published: dict[str, Any]):
    manifest = write_inspector(tmp_path / "artifact").manifest
    validate(manifest.to_json(), published)
    for wrong in (replace(manifest, anomaly=None), replace(manifest, task="classify")):
        assert not jsonschema.Draft202012Validator(published).is_valid(json.loads(wrong.to_json()))


WRONG: dict[str, Callable[[dict[str, Any]], object]] = {
    "an unknown field": lambda it: it.update(more=1),
    "no labels": lambda it: it.update(labels=[]),
    "no recipe": lambda it: it.update(recipe=None),
    "numbers with a recipe": lambda it: it.update(task="tensor"),
    "no source": lambda it: it.pop("source"),
    "another schema": lambda it: it.update(schema_version=1),
    "a share above 1": lambda it: it["parity"].update(top1_agreement=2),
    "a short digest": lambda it: it["files"]["labels.txt"].update(sha256="0"),
}


def test_what_the_reader_refuses_does_not_fit(manifest: Manifest, published: dict[str, Any]):
    for case, change in WRONG.items():
        values = json.loads(manifest.to_json())
        change(values)
        assert not jsonschema.Draft202012Validator(published).is_valid(values), case
