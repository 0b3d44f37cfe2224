"""Endpoints of the Open Inference Protocol v2, so that clients for KServe and Triton work unchanged.

Source: kserve/open-inference-protocol, specification/protocol/inference_rest.md.
"""

from __future__ import annotations

import json
from typing import Any

from flask import Flask, Response, request

import eaves
from eaves.errors import InputError, NotFoundError
from functions.http.function_app import read_body
from functions.model.pipeline import Pipeline
from functions.service import Service

JSON_BYTES = "Inference-Header-Content-Length"
PLATFORM = "onnxruntime_onnx"


def add_routes(app: Flask, service: Service) -> None:
    """Add the endpoints of the Open Inference Protocol to a Flask application."""
    model = "/v2/models/<name>"
    version = f"{model}/versions/<version>"

    @app.get("/v2")
    def server() -> Response:
        return _json({"name": "eaves", "version": eaves.__version__, "extensions": ["binary_tensor_data"]})

    @app.get("/v2/health/live")
    def live() -> Response:
        return _json({"live": True})

    @app.get("/v2/health/ready")
    def ready() -> Response:
        service.model.require_ready()
        return _json({"ready": True})

    @app.get(f"{model}/ready")
    @app.get(f"{version}/ready")
    def model_ready(name: str, version: str = "") -> Response:
        _check_name(service, service.model.require_ready(), name, version)
        return _json({"name": name, "ready": True})

    @app.get(model)
    @app.get(version)
    def model_metadata(name: str, version: str = "") -> Response:
        from functions.http import inference_messages  # with the first request that needs it: a start pays for imports

        predictor = service.model.require_ready()
        _check_name(service, predictor, name, version)
        described = {
            "name": name,
            "versions": [predictor.artifact.manifest.version],
            "platform": PLATFORM,
            "inputs": [inference_messages.describe_model(predictor.input)],
            "outputs": [inference_messages.describe_model(spec) for spec in predictor.outputs],
        }
        return _json(described)

    @app.post(f"{model}/infer")
    @app.post(f"{version}/infer")
    def infer(name: str, version: str = "") -> Response:
        from functions.http import inference_messages

        body, json_bytes = read_body(request.environ, service.settings.max_body_bytes), _json_bytes()
        with service.admission.queue_slot(), service.model.use() as predictor:
            _check_name(service, predictor, name, version)
            names = [spec.name for spec in predictor.outputs]
            with service.reading:
                asked = inference_messages.parse_request(body, json_bytes, predictor.input, names)
            results = service.run(predictor, asked.examples)
        body, json_bytes = inference_messages.build_response(asked, results, name, predictor.artifact.manifest.version)
        if json_bytes is None:
            return Response(body, content_type="application/json")
        return Response(body, content_type="application/octet-stream", headers={JSON_BYTES: str(json_bytes)})


def _check_name(service: Service, predictor: Pipeline, name: str, version: str) -> None:
    """Check that a request names the served model: by the function's name or the model's, and its version if given.

    Raises:
        NotFoundError: When the request names another model or version.
    """
    manifest = predictor.artifact.manifest
    if name not in (service.settings.name, manifest.name) or version not in ("", manifest.version):
        raise NotFoundError(
            f"there is no model {name[:80]!r} with version {version[:80] or 'any'!r}",
            hint=f"request the model {service.settings.name}, version {manifest.version}",
        )


def _json_bytes() -> int | None:
    text = request.headers.get(JSON_BYTES)
    if text is None:
        return None
    if not text.isascii() or not text.isdecimal() or len(text) > 12:
        raise InputError(f"{JSON_BYTES} must be a number of bytes (got {text[:40]!r})")
    return int(text)


def _json(document: Any) -> Response:
    return Response(json.dumps(document), content_type="application/json")
