"""Predictions as responses: the JSON document, and the CloudEvent that carries it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from eaves.artifact import Artifact
from eaves.events import Event, reply_id, source_uri
from functions.model.pipeline import Pipeline, Prediction
from functions.settings import FunctionSettings

PASSED_ON = ("partitionkey", "sequence", "datadigest", "traceparent", "tracestate")
"""Extension attributes that a reply copies from the event that caused it."""
_encode = json.JSONEncoder(allow_nan=False).encode
"""`json.dumps` with this option would build a new encoder for each reply."""


def build_prediction_document(prediction: Prediction, artifact: Artifact) -> dict[str, Any]:
    """Build the JSON of a prediction.

    It is the data of a reply event, or the whole response to an image that came without an event.
    """
    manifest = artifact.manifest
    return {
        **prediction.payload,
        "model": manifest.name,
        "version": manifest.version,
        "artifact": f"sha256:{artifact.digest}",
        "timings_ms": dict(prediction.timings_ms),
    }


def build_reply(cause: Event, prediction: Prediction, predictor: Pipeline, settings: FunctionSettings) -> Event:
    """Build the reply event to the event `cause`. Its id is the same on every retry and every replica."""
    artifact = predictor.artifact
    return Event(
        id=reply_id(cause, artifact.digest),
        source=source_uri(settings.site, settings.name),
        type=predictor.reply_type,
        subject=cause.subject,
        time=cause.time or datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        datacontenttype="application/json",
        data=_encode(build_prediction_document(prediction, artifact)).encode(),
        extensions=_extensions(cause, prediction, artifact),
    )


def _extensions(cause: Event, prediction: Prediction, artifact: Artifact) -> Mapping[str, str]:
    return {
        **{name: cause.extensions[name] for name in PASSED_ON if name in cause.extensions},
        "causeid": cause.id,
        "causesource": cause.source,
        **prediction.attributes,
        "model": artifact.manifest.name,
        "modelversion": artifact.manifest.version,
    }
