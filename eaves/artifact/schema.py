"""The manifest's JSON Schema, built from its types: `docs/manifest.schema.json`, for tools that read manifests.

Source: JSON Schema draft 2020-12, Core and Validation.
"""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal

from eaves.artifact.decision_rule import DecisionRule
from eaves.artifact.manifest import MAX_LABELS, OPTIONAL, SCHEMA_VERSION, TENSOR, FileEntry, Manifest
from eaves.recipe import MAX_SIDE, Recipe

DRAFT = "https://json-schema.org/draft/2020-12/schema"
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
"""JSON Schema rules for single fields, by class and field name: what the manifest's parser checks in addition to the
fields' types and declared limits."""
_SCALARS: Mapping[type, str] = {str: "string", bool: "boolean", int: "integer", float: "number"}


def build_schema() -> Schema:
    """Build the JSON Schema of manifest.json, draft 2020-12."""
    definitions: dict[str, Schema] = {}
    body = _object(Manifest, definitions)
    return {
        "$schema": DRAFT,
        "$id": f"urn:eaves:schema:manifest:{SCHEMA_VERSION}",
        "title": "manifest.json of an Eaves artifact",
        **body,
        "if": {"properties": {"task": {"const": TENSOR}}},
        "then": {"properties": {"recipe": {"type": "null"}}},
        "else": {"properties": {"recipe": {"type": "object"}, "labels": {"minItems": 1}}},
        "$defs": dict(sorted(definitions.items())),
    }


def _object(cls: type, definitions: dict[str, Schema]) -> Schema:
    hints, attributes = typing.get_type_hints(cls), _attribute_docs(cls)
    properties, required = {}, []
    for field in dataclasses.fields(cls):
        metadata = field.metadata
        described = {
            **_type(hints[field.name], metadata, definitions),
            **_RULES.get((cls, field.name), {}),
            "description": metadata.get("doc") or attributes[field.name],
        }
        properties[field.name] = described
        # A manifest names every field of its own; a section may leave out fields that have a default.
        has_default = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        if (cls is Manifest and field.name not in OPTIONAL) or not has_default:
            required.append(field.name)
    return {
        "type": "object",
        "description": (cls.__doc__ or "").partition("\n")[0],
        "properties": properties,
        "required": sorted(required),
        "additionalProperties": False,
    }


def _type(hint: Any, metadata: Mapping[str, Any], definitions: dict[str, Schema]) -> Schema:
    if dataclasses.is_dataclass(hint):
        name = typing.cast(type, hint).__name__
        if name not in definitions:
            definitions[name] = _object(typing.cast(type, hint), definitions)
        return {"$ref": f"#/$defs/{name}"}
    container, arguments = typing.get_origin(hint), typing.get_args(hint)
    if container is types.UnionType:  # the union with None
        return {"anyOf": [_type(arguments[0], metadata, definitions), {"type": "null"}]}
    if container is Literal:
        return {"enum": list(arguments)}
    if container is tuple:
        return {"type": "array", "items": _type(arguments[0], metadata, definitions)}
    if container is not None and issubclass(container, Mapping):
        return {"type": "object", "additionalProperties": _type(arguments[1], types.MappingProxyType({}), definitions)}
    made: Schema = {"type": _SCALARS[hint]}
    if metadata.get("choices"):
        made["enum"] = list(metadata["choices"])
    made |= {key: metadata[key] for key in ("minimum", "maximum") if metadata.get(key) is not None}
    return made


def _attribute_docs(cls: type) -> Mapping[str, str]:
    """Return the docstring's description of each attribute, for classes whose fields are not settings."""
    return dict(re.findall(r"^\s+(\w+): (.+)$", cls.__doc__ or "", re.MULTILINE))
