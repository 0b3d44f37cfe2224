"""The HTTP routes of a function, and the responses to requests that fail. `functions.service` makes the predictions.

Requests that succeed at the routes that a cold start waits for are answered before Flask, by
`functions.http.function_app`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

import eaves
from eaves.errors import EavesError
from eaves.web.origin import listens_on_loopback
from functions import metrics, process_usage
from functions.http import inference_routes, problems
from functions.http.function_app import (
    FAILED,
    LIVENESS,
    READINESS,
    DirectAnswer,
    FunctionApp,
    check_request,
    predict,
    tell_liveness,
    tell_readiness,
)
from functions.model.model_loading import LoadingModel
from functions.service import Service
from functions.settings import FunctionSettings

REVISION_VARIABLE = "K_REVISION"
"""Environment variable with the name of the function's revision; Knative Serving sets it in each pod.
Source: knative/serving, docs/runtime-contract.md, "Process" > "Environment variables"."""


def create_app(
    model: LoadingModel,
    settings: FunctionSettings,
    *,
    concurrency: int,
    environ: Mapping[str, str] = MappingProxyType({}),
) -> Flask:
    """Create the application of one function as a Flask application, which answers every request as the process does.

    Args:
        model: The model, loading or loaded.
        settings: The function's settings.
        concurrency: Number of concurrent predictions.
        environ: Environment variables, for the proxies that datarefs are fetched through, and for the name of the
            function's revision.

    Raises:
        ConfigError: When datarefs are enabled and a proxy's address is invalid.
    """
    service = Service(model, settings, concurrency=concurrency, environ=environ)
    app = build_flask(service, environ)
    others = app.wsgi_app
    app.wsgi_app = FunctionApp(service, lambda: others)  # type: ignore[method-assign]
    return app


def build_flask(service: Service, environ: Mapping[str, str]) -> Flask:
    """Build the Flask application of one function.

    Args:
        service: The function.
        environ: Environment variables, for the name of the function's revision.
    """
    app = Flask("functions", static_folder=None)
    app.url_map.merge_slashes = app.url_map.strict_slashes = False  # redirects, which senders of events don't follow
    app.config[problems.REVISION] = environ.get(REVISION_VARIABLE, "")
    app.register_error_handler(EavesError, problems.error_response)
    app.register_error_handler(HTTPException, problems.http_error_response)
    app.register_error_handler(Exception, problems.fault_response)
    app.before_request(_raise_failure)
    is_local = listens_on_loopback(service.settings.host)
    app.before_request(lambda: check_request(request.environ, is_local=is_local))
    _add_routes(app, service)
    inference_routes.add_routes(app, service)
    app.extensions[metrics.EXTENSION] = service.metrics
    _count_requests(app, service.metrics)
    return app


def _add_routes(app: Flask, service: Service) -> None:
    """Add the routes; Flask has to know those that `FunctionApp` answers too, for requests that fail there."""
    app.add_url_rule("/", "predict", lambda: _respond(predict(service, request.environ)), methods=["POST"])
    app.add_url_rule(READINESS, "readiness", lambda: _respond(tell_readiness(service)))
    app.add_url_rule(LIVENESS, "liveness", lambda: _respond(tell_liveness()))

    @app.get("/")
    def index() -> Response:
        return Response(json.dumps(_describe(service)), content_type="application/json")

    @app.get("/metrics")
    def show_metrics() -> Response:
        return Response(service.metrics.render(_gauges(service)), content_type=metrics.CONTENT_TYPE)


def _respond(answer: DirectAnswer) -> Response:
    response = Response(answer.body, status=answer.status, headers=dict(answer.headers))
    response.call_on_close(answer.close)
    return response


def _raise_failure() -> None:
    """Raise the error of a request that `FunctionApp` could not answer, for the error handlers."""
    if FAILED in request.environ:
        raise request.environ.pop(FAILED)  # the error refers to the environment and to the image in it


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
