"""The HTTP routes of a function: which response each request gets. `functions.service` makes the predictions."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

import eaves
from eaves import events
from eaves.errors import EavesError, ForbiddenError, UnsupportedContentError
from eaves.web.origin import HINT, find_foreign, listens_on_loopback
from functions import metrics, process_usage
from functions.http import inference_routes, problems
from functions.http.body import read_body
from functions.model.model_loading import LoadingModel
from functions.service import Service
from functions.settings import FunctionSettings

PROBE_WAIT_S = 0.09
"""Maximum seconds that a readiness probe waits for a model that loads, so that it is answered when the model is ready.
While a replica starts, Knative's queue-proxy gives a probe 100 ms, and sends the next one after that.
Source: knative/serving, pkg/queue/readiness/probe.go, `aggressiveProbeTimeout`."""
REVISION_VARIABLE = "K_REVISION"
"""Environment variable with the name of the function's revision; Knative Serving sets it in each pod.
Source: knative/serving, docs/runtime-contract.md, "Process" > "Environment variables"."""
_log = logging.getLogger(__name__)
_encode = json.JSONEncoder(allow_nan=False).encode
"""`json.dumps` with this option would build a new encoder for each response."""


def create_app(
    model: LoadingModel,
    settings: FunctionSettings,
    *,
    concurrency: int,
    environ: Mapping[str, str] = MappingProxyType({}),
) -> Flask:
    """Create the WSGI application of one function.

    Args:
        model: The model, loading or loaded.
        settings: The function's settings.
        concurrency: Number of concurrent predictions.
        environ: Environment variables, for the proxies that datarefs are fetched through, and for the name of the
            function's revision.

    Raises:
        ConfigError: When datarefs are enabled and a proxy's address is invalid.
    """
    app = Flask("functions", static_folder=None)
    app.url_map.merge_slashes = app.url_map.strict_slashes = False  # redirects, which senders of events don't follow
    app.config[problems.REVISION] = environ.get(REVISION_VARIABLE, "")
    app.register_error_handler(EavesError, problems.error_response)
    app.register_error_handler(HTTPException, problems.http_error_response)
    app.register_error_handler(Exception, problems.fault_response)
    service = Service(model, settings, concurrency=concurrency, environ=environ)
    _add_prediction(app, service)
    _add_probes(app, service)
    inference_routes.add_routes(app, service)
    if listens_on_loopback(settings.host):
        app.before_request(_refuse_browsers)
    app.before_request(_refuse_compression)
    app.extensions[metrics.EXTENSION] = service.metrics
    _count_requests(app, service.metrics)
    return app


def _add_prediction(app: Flask, service: Service) -> None:
    @app.post("/")
    def predict() -> Response:
        start = time.perf_counter()
        headers = dict(request.headers.items())
        body = read_body(service.settings.max_body_bytes)
        with service.reading:
            event = events.decode(headers, body) if events.is_event(headers) else None
        if event is None:
            document = service.predict_data(body, headers.get("Content-Type", ""))
            response = _json(document)
        elif event.type in events.REPLY_TYPES:
            return Response(status=202)
        else:
            reply = service.predict_event(event)
            response = Response(reply.body, headers=dict(reply.headers))
        response.call_on_close(partial(_log_response, service, event, time.perf_counter() - start))
        return response

    @app.get("/")
    def index() -> Response:
        return _json(_describe(service))


def _add_probes(app: Flask, service: Service) -> None:
    @app.get("/health/liveness")
    def liveness() -> Response:
        return _json({"status": "alive"})

    @app.get("/health/readiness")
    def readiness() -> Response:
        service.model.wait(PROBE_WAIT_S)
        service.model.require_ready()
        return _json({"status": "ready"})

    @app.get("/metrics")
    def show_metrics() -> Response:
        return Response(service.metrics.render(_gauges(service)), content_type=metrics.CONTENT_TYPE)


def _describe(service: Service) -> dict[str, Any]:
    """Return a description of the function for people who open it in a browser."""
    model, settings = service.model, service.settings
    about: dict[str, Any] = {
        "function": settings.name,
        "site": settings.site,
        "software": f"Eaves {eaves.__version__}",
        "state": "failed" if model.failure else "ending" if model.draining else "ready" if model.ready else "loading",
    }
    if model.failure:
        about["reason"] = model.failure.message
    if (predictor := model.proven) is not None:
        manifest = predictor.artifact.manifest
        about |= {
            "model": manifest.name,
            "version": manifest.version,
            "artifact": f"sha256:{predictor.artifact.digest}",
            "task": manifest.task,
            "precision": manifest.precision,
            "takes": list(predictor.content_types),
            "replies": predictor.reply_type,
        }
    return about | {
        "endpoints": {
            "POST /": "an image, or a CloudEvent with one (binary or structured)",
            "GET /health/readiness": "whether the function can answer predictions",
            "GET /health/liveness": "whether the process responds",
            "GET /metrics": "Prometheus",
            f"POST /v2/models/{settings.name}/infer": "Open Inference Protocol v2",
        }
    }


def _gauges(service: Service) -> metrics.Gauges:
    gauges: dict[str, tuple[dict[str, str], float]] = {
        "eaves_ready": ({}, float(service.model.ready)),
        "eaves_in_work": ({}, float(service.admission.inside)),
    }
    if (predictor := service.model.proven) is not None:
        artifact = predictor.artifact
        manifest = artifact.manifest
        named = {"model": manifest.name, "version": manifest.version, "artifact": f"sha256:{artifact.digest}"}
        gauges["eaves_model_info"] = ({**named, "task": manifest.task, "precision": manifest.precision}, 1.0)
        gauges["eaves_start_seconds"] = ({}, service.model.ready_at - process_usage.started_at())
    if (pool := service.model.pool) is not None:
        gauges |= {"eaves_sessions": ({}, float(pool.sessions)), "eaves_threads": ({}, float(pool.threads))}
    return gauges | {name: ({}, value) for name, value in process_usage.usage().items()}


def _count_requests(app: Flask, counted: metrics.Metrics) -> None:
    kinds = {"predict": "predict", "infer": "tensor"}

    @app.after_request
    def count(response: Response) -> Response:
        kind = kinds.get(request.endpoint or "", "other")
        problem = problems.problem_type(response)
        counted.count("eaves_requests_total", kind=kind, status=str(response.status_code), problem=problem)
        return response


def _refuse_browsers() -> None:
    """Refuse requests of web pages: a function that listens on loopback serves only programs on this machine."""
    if reason := find_foreign(request.headers.get("Host", ""), request.headers.get("Origin")):
        raise ForbiddenError(reason, hint=HINT)


def _refuse_compression() -> None:
    """Refuse compressed bodies: images are compressed already, and a small body could expand into a very large one."""
    encoding = request.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise UnsupportedContentError(
            f"the content encoding {encoding[:40]!r} is not supported", hint="send the body without a content encoding"
        )


def _json(document: Any) -> Response:
    return Response(_encode(document), content_type="application/json")


def _log_response(service: Service, event: events.Event | None, duration_s: float) -> None:
    """Count and log a prediction; this happens after its response is written, so that the response isn't delayed."""
    service.metrics.observe("request", duration_s)
    duration_ms = round(duration_s * 1000, 1)
    extra = {"function": service.settings.name, "duration_ms": duration_ms}
    if event is not None:
        extra |= {"event_id": event.id[:256], "event_type": event.type[:256]}
    _log.info("predicted in %.1f ms", duration_ms, extra=extra)
