"""Writes the JSON Schema of an artifact's manifest: `python docs/schema.py > docs/manifest.schema.json`.

It is built from the manifest's types, for tools of others that read manifests. A test checks that the file is up to
date. Source: JSON Schema draft 2020-12, Core and Validation.
"""

from __future__ import annotations

import dataclasses
import json
import re
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal

import click

from eaves.artifact.manifest import (
    ANOMALY,
    MAX_LABELS,
    OPTIONAL,
    SCHEMA_VERSION,
    TENSOR,
    DecisionRule,
    FileEntry,
    Manifest,
)
from eaves.recipe import MAX_SIDE, Recipe

Schema = dict[str, Any]

_SIDE: Schema = {"minimum": 1, "maximum": MAX_SIDE}
_RULES: Mapping[tuple[type, str], Schema] = {
    (Manifest, "schema_version"): {"const": SCHEMA_VERSION},
    (Manifest, "labels"): {"maxItems": MAX_LABELS},
    (Manifest, "temperature"): {"exclusiveMinimum": 0},
    (Manifest, "files"): {"propertyNames": {"maxLength": 255}, "required": ["labels.txt", "model.onnx"]},
    (DecisionRule, "label_weights"): {"items": {"type": "number", "exclusiveMinimum": 0}, "maxItems": MAX_LABELS},
    (FileEntry, "sha256"): {"pattern": "^[0-9a-f]{64}$"},
    (Recipe, "height"): _SIDE,
    (Recipe, "width"): _SIDE,
}
"""What the manifest's parser checks of single fields in addition to their types and declared limits."""
_SCALARS: Mapping[type, str] = {str: "string", bool: "boolean", int: "integer", float: "number"}


def build_schema() -> Schema:
    """Return the JSON Schema of manifest.json, draft 2020-12."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:eaves:schema:manifest:{SCHEMA_VERSION}",
        "title": "manifest.json of an Eaves artifact",
        **_object(Manifest),
        "if": {"properties": {"task": {"const": TENSOR}}},
        "then": {"properties": {"recipe": {"type": "null"}}},
        "else": {"properties": {"recipe": {"type": "object"}, "labels": {"minItems": 1}}},
        "allOf": [
            {
                "if": {"properties": {"task": {"const": ANOMALY}}},
                "then": {"required": ["anomaly"]},
                "else": {"properties": {"anomaly": {"type": "null"}}},
            }
        ],
    }


def _object(cls: type) -> Schema:
    hints = typing.get_type_hints(cls)
    documented = dict(re.findall(r"^\s+(\w+): (.+)$", cls.__doc__ or "", re.MULTILINE))  # a recipe has no settings
    properties, required = {}, []
    for field in dataclasses.fields(cls):
        properties[field.name] = {
            **_type(hints[field.name], field.metadata),
            **_RULES.get((cls, field.name), {}),
            "description": field.metadata.get("doc") or documented[field.name],
        }
        # A manifest names every field but the optional ones; a section may leave out fields that have a default.
        has_default = field.name in OPTIONAL if cls is Manifest else _has_default(field)
        if not has_default:
            required.append(field.name)
    return {"type": "object", "properties": properties, "required": sorted(required), "additionalProperties": False}


def _has_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING


def _type(hint: Any, metadata: Mapping[str, Any]) -> Schema:
    if dataclasses.is_dataclass(hint):
        return _object(typing.cast(type, hint))
    container, arguments = typing.get_origin(hint), typing.get_args(hint)
    if container is types.UnionType:  # the union with None
        return {"anyOf": [_type(arguments[0], metadata), {"type": "null"}]}
    if container is Literal:
        return {"enum": list(arguments)}
    if container is tuple:
        return {"type": "array", "items": _type(arguments[0], metadata)}
    if container is not None:
        return {"type": "object", "additionalProperties": _type(arguments[1], {})}
    limits = {key: metadata[key] for key in ("minimum", "maximum") if metadata.get(key) is not None}
    return {
        "type": _SCALARS[hint],
        **({"enum": list(metadata["choices"])} if metadata.get("choices") else {}),
        **limits,
    }


if __name__ == "__main__":
    click.echo(json.dumps(build_schema(), indent=2, ensure_ascii=False))
