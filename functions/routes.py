"""The HTTP routes of a function, and the responses to requests that fail. `functions.service` makes the predictions.

Requests that succeed at the routes that a cold start waits for are answered before Flask, by
`functions.function_app`.
"""

from __future__ import annotations

import json
from typing import Any

from flask import Flask, Response, request

import eaves
from eaves.base.process_usage import read_start
from eaves.base.prometheus import CONTENT_TYPE
from eaves.errors import InputError, NotFoundError
from eaves.origin import is_loopback_host
from functions import metrics, problems
from functions.function_app import (
    FAILED,
    LIVENESS,
    READINESS,
    answer_readiness,
    check_request,
    read_body,
)
from functions.pipeline import Pipeline
from functions.service import Service

JSON_BYTES = "Inference-Header-Content-Length"
PLATFORM = "onnxruntime_onnx"


def build_flask(service: Service) -> Flask:
    """Build the Flask application of one function."""
    app = Flask("functions", static_folder=None)
    app.url_map.merge_slashes = app.url_map.strict_slashes = False  # redirects, which senders of events don't follow
    app.config[problems.REVISION] = service.revision
    app.register_error_handler(Exception, problems.error_response)
    is_local = is_loopback_host(service.settings.host)

    @app.before_request
    def check() -> None:
        if FAILED in request.environ:  # `FunctionApp` could not answer
            raise request.environ.pop(FAILED)  # the error refers to the environment and to the image in it
        check_request(request.environ, is_local=is_local)

    @app.after_request
    def count(response: Response) -> Response:
        kind = {"predict": "predict", "infer": "tensor"}.get(request.endpoint or "", "other")
        problem = problems.problem_type(response)
        response.headers.extend(service.count_request(request.environ, kind, response.status_code, problem))
        return response

    _add_routes(app, service)
    _add_protocol(app, service)
    return app


def _add_routes(app: Flask, service: Service) -> None:
    """Add the routes; Flask knows those that `FunctionApp` answers for other methods, and for what fails there."""
    app.add_url_rule("/", "predict", lambda: "", methods=["POST"])
    app.add_url_rule(READINESS, "readiness", lambda: answer_readiness(service).body)
    app.add_url_rule(LIVENESS, "liveness", lambda: "")

    @app.get("/metrics")
    def show_metrics() -> Response:
        gauges: dict[str, float] = {"eaves_ready": service.model.ready, "eaves_in_work": service.admission.inside}
        artifact: dict[str, str] = {}
        if (predictor := service.model.proven) is not None:
            manifest, digest = predictor.artifact.manifest, f"sha256:{predictor.artifact.digest}"
            artifact = {"model": manifest.name, "version": manifest.version, "artifact": digest}
            artifact |= {"task": manifest.task, "precision": manifest.precision}
            gauges["eaves_start_seconds"] = service.model.ready_at - read_start()
        if (pool := service.model.pool) is not None:
            gauges |= {"eaves_sessions": pool.sessions, "eaves_threads": pool.threads}
        return Response(service.metrics.render(gauges | metrics.read_usage(), artifact), content_type=CONTENT_TYPE)


def _add_protocol(app: Flask, service: Service) -> None:
    """Add the endpoints of the Open Inference Protocol v2, so that clients for KServe and Triton work unchanged.

    Source: kserve/open-inference-protocol, specification/protocol/inference_rest.md.
    """
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
        from functions import inference_messages  # with the first request that needs it: a start pays for imports

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
        from functions import inference_messages

        body, text = read_body(request.environ, service.settings.max_body_bytes), request.headers.get(JSON_BYTES, "0")
        if not text.isascii() or not text.isdecimal() or len(text) > 12:
            raise InputError(f"{JSON_BYTES} must be a number of bytes (got {text[:40]!r})")
        json_bytes = int(text) if JSON_BYTES in request.headers else None
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


def _json(document: Any) -> Response:
    return Response(json.dumps(document), content_type="application/json")
