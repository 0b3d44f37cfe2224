"""JSON Schemas of events' data, by event type. An image is bytes and has no schema.

Data may have more members than the schema: an artifact's handler.py adds its own. EventTypes publish the schemas in a
cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eaves.events import (
    DATASET_UPDATED,
    IMAGE_CLASSIFIED,
    IMAGE_EMBEDDED,
    IMAGE_INSPECTED,
    MODEL_PUBLISHED,
    MODEL_SHIFTED,
    TENSOR_PREDICTED,
    TYPE_PREFIX,
)

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def schema_uri(event_type: str) -> str:
    """Return the name of an event type's schema, for `dataschema`."""
    return f"urn:eaves:schema:{event_type.removeprefix(TYPE_PREFIX)}"


def _object(event_type: str, required: tuple[str, ...], properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "$schema": DRAFT,
        "$id": schema_uri(event_type),
        "type": "object",
        "required": list(required),
        "properties": dict(properties),
    }


def _text(**more: str) -> dict[str, str]:
    return {"type": "string", **more}


_DIGEST = _text(pattern="^sha256:[0-9a-f]{64}$")
_NUMBER = {"type": "number"}
_NUMBERS = {"type": "array", "items": _NUMBER}
_ROWS = {"type": "array", "items": _NUMBERS}
_SCORE = {"type": "number", "minimum": 0, "maximum": 1}
_LABELLED = {
    "type": "object",
    "required": ["label", "score"],
    "properties": {"label": _text(), "score": _SCORE},
}
_MODEL: dict[str, Any] = {"model": _text(), "version": _text(), "artifact": _DIGEST}
_ANSWER: dict[str, Any] = {
    **_MODEL,
    "timings_ms": {"type": "object", "additionalProperties": {"type": "number", "minimum": 0}},
}
_ANSWERED = tuple(_ANSWER)

SCHEMAS: Mapping[str, Mapping[str, Any]] = {
    IMAGE_CLASSIFIED: _object(
        IMAGE_CLASSIFIED,
        _ANSWERED,
        {
            "predictions": {"type": "array", "items": _LABELLED},
            "margin": _SCORE,
            "calibration": {
                "type": "object",
                "properties": {"label": _text(), "rank": _SCORE, "groups": {"type": "integer", "minimum": 1}},
            },
            **_ANSWER,
        },
    ),
    IMAGE_EMBEDDED: _object(IMAGE_EMBEDDED, _ANSWERED, {"embedding": _NUMBERS, **_ANSWER}),
    IMAGE_INSPECTED: _object(
        IMAGE_INSPECTED,
        _ANSWERED,
        {
            "label": _text(),
            "score": _NUMBER,
            "p_value": _SCORE,
            "margin": _SCORE,
            "threshold": _NUMBER,
            "calibration": {"type": "object", "additionalProperties": {"type": "integer", "minimum": 1}},
            "boxes": _ROWS,
            "map": _ROWS,
            **_ANSWER,
        },
    ),
    TENSOR_PREDICTED: _object(TENSOR_PREDICTED, _ANSWERED, {"outputs": {"type": "object"}, **_ANSWER}),
    DATASET_UPDATED: _object(
        DATASET_UPDATED,
        ("dataset",),
        {"dataset": _text(format="uri"), "labels": {"type": "integer", "minimum": 0}},
    ),
    MODEL_PUBLISHED: _object(
        MODEL_PUBLISHED,
        ("image", "artifact", "model", "version"),
        {"image": _text(pattern="@sha256:[0-9a-f]{64}$"), **_MODEL},
    ),
    MODEL_SHIFTED: _object(
        MODEL_SHIFTED,
        (*_MODEL, "source", "distance", "limit"),
        {
            "source": _text(),
            "labels": {"type": "array", "items": _text()},
            "distance": _SCORE,
            "limit": _NUMBER,
            "counts": _NUMBERS,
            "expected": _NUMBERS,
            "images": {"type": "array", "items": _text()},
            **_MODEL,
        },
    ),
}
"""JSON Schema of the data of each event type. A schema requires only the members that every event of the type has,
because an artifact's handler.py may replace the other members."""
