"""The WSGI application of a function: its HTTP routes. `functions.service` makes the predictions.

There is no framework: the few routes need none, and the import of Flask took a fifth of a small model's cold start.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import eaves
from eaves import events
from eaves.errors import ForbiddenError, InputError, NotFoundError, UnsupportedContentError
from eaves.web.origin import HINT, find_foreign, listens_on_loopback
from functions import metrics
from functions.http.problems import Answer, RequestRefusedError, build_failure
from functions.model.model_loading import LoadingModel
from functions.model.pipeline import Pipeline
from functions.service import Service
from functions.settings import FunctionSettings

LIVENESS, READINESS = "/health/liveness", "/health/readiness"
MODEL = "/v2/models/NAME"
"""Name in `FunctionApp.routes` of the routes of a model; a request for one may also name a version. Source:
kserve/open-inference-protocol, specification/protocol/inference_rest.md."""
JSON_BYTES = "Inference-Header-Content-Length"
PLATFORM = "onnxruntime_onnx"
REVISION_VARIABLE = "K_REVISION"
"""Environment variable with the name of the function's revision; Knative Serving sets it in each pod.
Source: knative/serving, docs/runtime-contract.md, "Process" > "Environment variables"."""
PROBE_WAIT_S = 0.09
"""Maximum seconds that a readiness probe waits for a model that loads, so that it is answered when the model is ready.
While a replica starts, Knative's queue-proxy gives a probe 100 ms, and sends the next one after that.
Source: knative/serving, pkg/queue/readiness/probe.go, `aggressiveProbeTimeout`."""
_MODEL_PATH = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?(/ready|/infer)?")
_MODEL_KEY = "eaves.model"
"""Key of the model's name and version in the environment of a request that names them; the version may be empty."""
_STATUS_LINES = {200: "200 OK", 202: "202 Accepted"}
_log = logging.getLogger(__name__)
encode = json.JSONEncoder(allow_nan=False).encode
"""`json.dumps` with this option would build a new encoder for each response."""

Environ = dict[str, Any]
"""Variables of one request. Source: PEP 3333, "environ Variables"."""


def create_app(
    model: LoadingModel,
    settings: FunctionSettings,
    *,
    concurrency: int,
    environ: Mapping[str, str] = MappingProxyType({}),
) -> FunctionApp:
    """Create the application of one function.

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
    return FunctionApp(service, revision=environ.get(REVISION_VARIABLE, ""))


class FunctionApp:
    """WSGI application of one function; safe to call from many threads.

    Args:
        service: The function.
        revision: Name of the function's revision, for problem documents.

    Attributes:
        routes: The function that answers a request, by path and method.
    """

    def __init__(self, service: Service, *, revision: str = "") -> None:
        self._service = service
        self._revision = revision
        self._is_local = listens_on_loopback(service.settings.host)
        self.routes: Mapping[str, Mapping[str, Callable[[Environ], Answer]]] = {
            "/": {"GET": self._describe, "POST": self._predict},
            READINESS: {"GET": self._tell_readiness},
            LIVENESS: {"GET": lambda environ: _json({"status": "alive"})},
            "/metrics": {"GET": self._show_metrics},
            "/v2": {"GET": lambda environ: _json(_ABOUT_SERVER)},
            "/v2/health/live": {"GET": lambda environ: _json({"live": True})},
            "/v2/health/ready": {"GET": self._tell_server_ready},
            MODEL: {"GET": self._describe_model},
            f"{MODEL}/ready": {"GET": self._tell_model_ready},
            f"{MODEL}/infer": {"POST": self._infer},
        }

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""
        method, route = environ["REQUEST_METHOD"], _find_route(environ)
        try:
            answer = self._answer(environ, method, route)
        except Exception as error:  # noqa: BLE001 - every failure is answered
            answer = build_failure(error, path=environ["PATH_INFO"], revision=self._revision)
        kind = {("POST", "/"): "predict", ("POST", f"{MODEL}/infer"): "tensor"}.get((method, route), "other")
        self._count(answer, kind)
        line = _STATUS_LINES.get(answer.status) or _status_line(answer.status)
        start_response(line, [*answer.headers.items(), ("Content-Length", str(len(answer.body)))])
        return _Body(b"" if method == "HEAD" else answer.body, answer.close)

    def refuse(self, status: int, detail: str, path: str) -> Answer:
        """Return the response to a request that the HTTP server refuses before the application gets it."""
        answer = build_failure(RequestRefusedError(status, detail), path=path, revision=self._revision)
        self._count(answer, "refused")
        return answer

    def _count(self, answer: Answer, kind: str) -> None:
        status = str(answer.status)
        self._service.metrics.count("eaves_requests_total", kind=kind, status=status, problem=answer.problem)

    def _answer(self, environ: Environ, method: str, route: str) -> Answer:
        check_request(environ, is_local=self._is_local)
        methods = self.routes.get(route)
        if methods is None:
            raise RequestRefusedError(404, "the function has no such path")
        answer = methods.get("GET" if method == "HEAD" else method)
        if answer is None:
            allowed = ", ".join(sorted({*methods, *(["HEAD"] if "GET" in methods else [])}))
            # Source: RFC 9110, section 15.5.6
            raise RequestRefusedError(405, f"this path allows {allowed}", {"Allow": allowed})
        return answer(environ)

    def _predict(self, environ: Environ) -> Answer:
        """Predict the image or the event that a request has."""
        start, service = time.perf_counter(), self._service
        headers = _read_headers(environ)
        body = self._read_body(environ)
        with service.reading:
            event = events.decode(headers, body) if events.is_event(headers) else None
        if event is None:
            document = service.predict_data(body, headers.get("Content-Type", ""))
            headers, body = {"Content-Type": "application/json"}, encode(document).encode()
        elif event.type in events.REPLY_TYPES:
            return Answer(status=202)
        else:
            reply_headers, body = service.predict_event(event)
            headers = dict(reply_headers)
        log = partial(_log_response, service, event, time.perf_counter() - start)
        return Answer(headers=headers, body=body, close=log)

    def _read_body(self, environ: Environ) -> bytes:
        """Return the whole body, which waitress has received. It refuses most that are too large before they arrive."""
        max_bytes = self._service.settings.max_body_bytes
        is_large = int(environ.get("CONTENT_LENGTH") or 0) > max_bytes
        body: bytes = b"" if is_large else environ["wsgi.input"].read()
        if is_large or len(body) > max_bytes:
            raise RequestRefusedError(413, f"the body has more than {max_bytes} bytes")
        return body

    def _tell_readiness(self, environ: Environ) -> Answer:
        """Answer a readiness probe, which waits a little for a model that loads."""
        self._service.model.wait(PROBE_WAIT_S)
        self._service.model.require_ready()
        return _json({"status": "ready"})

    def _tell_server_ready(self, environ: Environ) -> Answer:
        self._service.model.require_ready()
        return _json({"ready": True})

    def _tell_model_ready(self, environ: Environ) -> Answer:
        self._check_name(environ, self._service.model.require_ready())
        return _json({"name": environ[_MODEL_KEY][0], "ready": True})

    def _describe_model(self, environ: Environ) -> Answer:
        from functions.http import inference_messages  # with the first request that needs it: a start pays for imports

        predictor = self._service.model.require_ready()
        self._check_name(environ, predictor)
        described = {
            "name": environ[_MODEL_KEY][0],
            "versions": [predictor.artifact.manifest.version],
            "platform": PLATFORM,
            "inputs": [inference_messages.describe_model(predictor.input)],
            "outputs": [inference_messages.describe_model(spec) for spec in predictor.outputs],
        }
        return _json(described)

    def _infer(self, environ: Environ) -> Answer:
        from functions.http import inference_messages

        service = self._service
        body, json_bytes = self._read_body(environ), _find_json_bytes(environ)
        with service.admission.queue_slot(), service.model.use() as predictor:
            self._check_name(environ, predictor)
            names = [spec.name for spec in predictor.outputs]
            with service.reading:
                asked = inference_messages.parse_request(body, json_bytes, predictor.input, names)
            results = service.run(predictor, asked.examples)
        name, version = environ[_MODEL_KEY][0], predictor.artifact.manifest.version
        body, json_bytes = inference_messages.build_response(asked, results, name, version)
        if json_bytes is None:
            return Answer(headers={"Content-Type": "application/json"}, body=body)
        return Answer(headers={"Content-Type": "application/octet-stream", JSON_BYTES: str(json_bytes)}, body=body)

    def _check_name(self, environ: Environ, predictor: Pipeline) -> None:
        """Check that a request names the served model, by the function's name or the model's, and its version if any.

        Raises:
            NotFoundError: When the request names another model or version.
        """
        manifest, own = predictor.artifact.manifest, self._service.settings.name
        name, version = environ[_MODEL_KEY]
        if name not in (own, manifest.name) or version not in ("", manifest.version):
            raise NotFoundError(
                f"there is no model {name[:80]!r} with version {version[:80] or 'any'!r}",
                hint=f"request the model {own}, version {manifest.version}",
            )

    def _describe(self, environ: Environ) -> Answer:
        """Describe the function for people who open it in a browser."""
        model, settings = self._service.model, self._service.settings
        about: dict[str, Any] = {
            "function": settings.name,
            "site": settings.site,
            "software": f"Eaves {eaves.__version__}",
            "state": "ending" if model.draining else "ready" if model.ready else "loading",
        }
        if model.failure:
            about |= {"state": "failed", "reason": model.failure.message}
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
        return _json(about)

    def _show_metrics(self, environ: Environ) -> Answer:
        model = self._service.model
        gauges: dict[str, tuple[dict[str, str], float]] = {
            "eaves_ready": ({}, float(model.ready)),
            "eaves_in_work": ({}, float(self._service.admission.inside)),
        }
        if (predictor := model.proven) is not None:
            artifact = predictor.artifact
            manifest = artifact.manifest
            named = {"model": manifest.name, "version": manifest.version, "artifact": f"sha256:{artifact.digest}"}
            gauges["eaves_model_info"] = ({**named, "task": manifest.task, "precision": manifest.precision}, 1.0)
        if (pool := model.pool) is not None:
            gauges |= {"eaves_sessions": ({}, float(pool.sessions)), "eaves_threads": ({}, float(pool.threads))}
        body = self._service.metrics.render(gauges).encode()
        return Answer(headers={"Content-Type": metrics.CONTENT_TYPE}, body=body)


_ABOUT_SERVER = {"name": "eaves", "version": eaves.__version__, "extensions": ["binary_tensor_data"]}


class _Body(list[bytes]):
    """The body of a response, in one piece."""

    def __init__(self, body: bytes, close: Callable[[], None]) -> None:
        super().__init__((body,))
        self.close = close


def _find_route(environ: Environ) -> str:
    """Return the path of a request, as `FunctionApp.routes` has it; of a model's path, note its name and version."""
    path: str = environ["PATH_INFO"]
    if not path.startswith("/v2/models/"):
        return path
    found = _MODEL_PATH.fullmatch(path.encode("latin-1").decode("utf-8", "replace"))  # PEP 3333, "Unicode Issues"
    if found is None:
        return ""
    environ[_MODEL_KEY] = (found[1], found[2] or "")
    return f"{MODEL}{found[3] or ''}"


def _status_line(status: int) -> str:
    from http import HTTPStatus  # a start doesn't need it

    return f"{status} {HTTPStatus(status).phrase}"


def check_request(environ: Environ, *, is_local: bool) -> None:
    """Check what holds for every route.

    Compressed bodies are refused, because images are compressed already, and a small body could expand into a very
    large one.

    Args:
        environ: Environment of the request.
        is_local: Whether the function listens on loopback, where it serves only programs on this machine.

    Raises:
        ForbiddenError: When it does, and a web page may have sent the request.
        UnsupportedContentError: When the body is compressed.
    """
    if is_local and (reason := find_foreign(environ.get("HTTP_HOST", ""), environ.get("HTTP_ORIGIN"))):
        raise ForbiddenError(reason, hint=HINT)
    encoding = environ.get("HTTP_CONTENT_ENCODING", "identity")
    if encoding.lower() != "identity":
        raise UnsupportedContentError(
            f"the content encoding {encoding[:40]!r} is not supported", hint="send the body without a content encoding"
        )


def _read_headers(environ: Environ) -> dict[str, str]:
    """Return the header fields by name, such as `Ce-Id`. Source: PEP 3333, `HTTP_` variables."""
    headers = {name[5:].replace("_", "-").title(): value for name, value in environ.items() if name.startswith("HTTP_")}
    if environ.get("CONTENT_TYPE"):
        headers["Content-Type"] = environ["CONTENT_TYPE"]
    return headers


def _find_json_bytes(environ: Environ) -> int | None:
    text = environ.get("HTTP_INFERENCE_HEADER_CONTENT_LENGTH")
    if text is None:
        return None
    if not text.isascii() or not text.isdecimal() or len(text) > 12:
        raise InputError(f"{JSON_BYTES} must be a number of bytes (got {text[:40]!r})")
    return int(text)


def _json(document: Any) -> Answer:
    return Answer(headers={"Content-Type": "application/json"}, body=json.dumps(document).encode())


def _log_response(service: Service, event: events.Event | None, duration_s: float) -> None:
    """Count and log a prediction; this happens after its response is written, so that the response isn't delayed."""
    service.metrics.observe("request", duration_s)
    duration_ms = round(duration_s * 1000, 1)
    extra = {"function": service.settings.name, "duration_ms": duration_ms}
    if event is not None:
        extra |= {"event_id": event.id[:256], "event_type": event.type[:256]}
    _log.info("predicted in %.1f ms", duration_ms, extra=extra)
