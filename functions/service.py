"""The steps of a request after it is read: admission, fetch of data, checks, prediction and reply."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from eaves import events
from eaves.artifact import Artifact
from eaves.errors import (
    ClaimError,
    DamagedError,
    DeliveryError,
    InputError,
    OverloadedError,
    UnsupportedContentError,
)
from eaves.events import COPIED_EXTENSIONS, DATADIGEST, DATAREF, Event, reply_id, source_uri
from eaves.problem_document import COUNTED_HEADER, REVISION_HEADER
from functions.metrics import Metrics
from functions.model_loading import LoadingModel
from functions.pipeline import Array, Pipeline, Prediction
from functions.settings import FunctionSettings

if TYPE_CHECKING:
    from functions.dataref import DatarefFetcher, FetchedData


encode = json.JSONEncoder(allow_nan=False).encode
"""`json.dumps` with this option would build a new encoder for each reply."""
_SHA256 = re.compile(r"sha256:([0-9a-f]{64})", re.IGNORECASE)
_UNKNOWN_TYPES = frozenset({"", "application/octet-stream", "binary/octet-stream"})
"""Content types that say nothing about the data; the last one is S3's for an upload without a type."""
_ALGORITHM = "sha256:"
_DEFAULT_TYPE = "application/json"
"""Content type of data whose event names none. Source: CloudEvents, JSON event format, section 3.1.1."""
_RETRY_HINT = "send again later"
_COUNTED = "HTTP_" + COUNTED_HEADER.upper().replace("-", "_")
REVISION_VARIABLE = "K_REVISION"
"""Environment variable with the name of the function's revision; Knative Serving sets it in each pod.
Source: knative/serving, docs/runtime-contract.md, "Process" > "Environment variables"."""


class Service:
    """One function, independent of the protocol of its requests; safe to call from many threads.

    Args:
        model: The model, loading or loaded.
        settings: The function's settings.
        concurrency: Maximum number of concurrent predictions.
        environ: Environment variables: the function's revision, and perhaps proxies for fetching datarefs.

    Raises:
        ConfigError: When datarefs are enabled and a proxy's address is invalid.

    Attributes:
        revision: Name of the function's revision; empty where there are none.
        reading: Lock to hold while a request that may be JSON is parsed, since parsing takes tens of MB of memory.
    """

    def __init__(
        self, model: LoadingModel, settings: FunctionSettings, *, concurrency: int, environ: Mapping[str, str]
    ) -> None:
        self.model = model
        self.settings = settings
        self.revision = environ.get(REVISION_VARIABLE, "")
        self.admission = Admission(concurrency=concurrency, queue=settings.queue)
        self.metrics = Metrics()
        self.reading = threading.Lock()  # parsing JSON takes tens of MB, and blocks the interpreter
        self._fetcher = _open_fetcher(settings, environ) if settings.dataref_hosts else None
        self._fetch_memory = FetchMemory(max(settings.dataref_max_bytes, settings.max_body_bytes))

    def count_request(self, environ: Mapping[str, Any], kind: str, status: int, problem: str = "") -> Mapping[str, str]:
        """Count a request, and return header fields for its response: the revision, for a sender that counts."""
        own = not self.revision or kind == "other" or _COUNTED not in environ
        labels: dict[str, Any] = {} if own else {"counted": "sender"}
        self.metrics.count("eaves_requests_total", kind=kind, status=str(status), problem=problem, **labels)
        return {} if own else {REVISION_HEADER: self.revision}

    def predict_event(self, event: Event, *, with_map: bool = False) -> tuple[Mapping[str, str], bytes]:
        """Return the headers and the body of the reply to an event, whose id is the same at each repetition.

        Args:
            event: The event.
            with_map: Whether the reply has the model's map, if it makes one.

        Raises:
            InputError: When the sent data are invalid.
            EavesError: For any other failure; the sender may try again.
        """
        accepted = self.settings.accept_types
        if accepted and event.type not in accepted:
            raise UnsupportedContentError(
                f"events of the type {event.type[:80]!r} are not accepted",
                hint=(f"send an event of one of these types: {', '.join(accepted)[:200]}"),
            )
        with self.admission.queue_slot(), self._fetch_memory.share() as reserve:
            if not event.data and DATAREF in event.extensions:
                prediction, predictor = self._predict_reference(event, reserve)
            else:
                expected = _find_digest(event)
                if expected and expected != (digest := hashlib.sha256(event.data).hexdigest()):
                    raise DamagedError(
                        f"the data has the digest sha256:{digest}, which differs from its datadigest",
                        hint="send the complete event again",
                    )
                prediction, predictor = self._predict(event.data, event.datacontenttype or _DEFAULT_TYPE)
        prediction = prediction.with_map() if with_map else prediction
        return events.encode_binary(build_reply(event, prediction, predictor, self.settings))

    def predict_data(self, data: bytes, content_type: str, *, with_map: bool = False) -> dict[str, Any]:
        """Return the JSON document of the prediction for data that came without an event.

        Raises:
            InputError: When the sent data are invalid.
            EavesError: For any other failure; the sender may try again.
        """
        with self.admission.queue_slot():
            prediction, predictor = self._predict(data, content_type)
        return build_prediction_document(prediction.with_map() if with_map else prediction, predictor.artifact)

    def run(self, predictor: Pipeline, examples: Sequence[bytes | Array]) -> list[Mapping[str, Array]]:
        """Return the model's outputs for each example.

        Each example waits for a permit of its own; the caller holds a queue slot.

        Raises:
            InputError: When the sent data are invalid.
            HandlerError: When the artifact's handler.py fails.
        """
        results = []
        for example in examples:
            with self.model.active.running(), self.admission.permits:
                start = time.perf_counter()
                results.append(predictor.run(example, turn=lambda: self.admission.turns))
            self.metrics.observe("tensor", time.perf_counter() - start)
        return results

    def _predict_reference(self, event: Event, reserve: Callable[[int], None]) -> tuple[Prediction, Pipeline]:
        """Return the prediction for the data that an event refers to.

        Raises:
            ClaimError: When the event may not refer to these data, or the store says that they don't exist.
            InputError: When the store's object is no valid input of the model.
            DeliveryError: When the data can't be fetched at present, or may be those of a captive portal: their digest
                differs from the event's, or they are no valid input and nothing shows that they are the store's.
        """
        if self._fetcher is None:
            raise ClaimError(
                "this function doesn't fetch data by reference (dataref)",
                hint="set dataref_hosts, or send the data itself",
            )
        expected = _find_digest(event)
        start = time.perf_counter()
        fetched = self._fetcher.fetch(event.extensions[DATAREF], reserve)
        self.metrics.observe("fetch", time.perf_counter() - start)
        if expected and expected != (digest := hashlib.sha256(fetched.data).hexdigest()):
            raise DeliveryError(
                f"the data of a dataref has the digest sha256:{digest}, which differs from its datadigest",
                hint=_RETRY_HINT,
            )
        try:
            return self._predict(fetched.data, event.datacontenttype or _find_type(fetched) or _DEFAULT_TYPE)
        except InputError as error:
            if expected or fetched.proven:
                raise
            raise DeliveryError(
                f"the host of a dataref answered with other data than the store's, or with bad data: {error.message}",
                hint=_RETRY_HINT,
            ) from error

    def _predict(self, data: bytes, content_type: str) -> tuple[Prediction, Pipeline]:
        media_type, waited_s = content_type.partition(";")[0].strip().lower(), 0.0

        @contextmanager
        def waiting(permit: AbstractContextManager[object]) -> Iterator[None]:
            nonlocal waited_s
            start = time.perf_counter()
            with permit:
                waited_s += time.perf_counter() - start
                yield

        with self.model.use() as predictor:
            if data and not predictor.accepts(media_type):
                raise UnsupportedContentError(
                    f"the content type {content_type[:64]!r} is not supported",
                    hint=f"send one of: {', '.join(predictor.content_types)}",
                )
            with self.model.active.running(), waiting(self.admission.permits):
                prediction = predictor.predict(data, turn=lambda: waiting(self.admission.turns))
        self.metrics.observe("queue", waited_s)
        for stage, duration_ms in prediction.timings_ms.items():
            self.metrics.observe(stage, duration_ms / 1000)
        known = len(predictor.artifact.manifest.labels)
        self.metrics.count("eaves_predictions_total", known=known, label=prediction.attributes.get("label", ""))
        return prediction, predictor


def _find_type(fetched: FetchedData) -> str:
    """Return the content type of fetched data; by the first bytes when the store knows none, as of a plain upload."""
    if fetched.content_type.partition(";")[0].strip().lower() not in _UNKNOWN_TYPES:
        return fetched.content_type
    from eaves.media_type import UNKNOWN, sniff  # imported only when used, as for every fetch

    found = sniff(fetched.data)
    return fetched.content_type if found == UNKNOWN else found


def _find_digest(event: Event) -> str:
    """Return the SHA-256 that an event's data must have, in hexadecimal; empty when none is to be checked.

    Raises:
        ClaimError: When the digest of data that the event refers to has an unknown form.
        InputError: When the digest of data in the event itself has one.
    """
    declared, referred = event.extensions.get(DATADIGEST), not event.data and DATAREF in event.extensions
    rewritten = events.is_json(event.datacontenttype)  # an intermediary may have rewritten it
    if declared is None or (not referred and (rewritten or not declared.lower().startswith(_ALGORITHM))):
        return ""
    found = _SHA256.fullmatch(declared)
    if found is None:
        kind = ClaimError if referred else InputError
        raise kind(f"the datadigest {declared[:80]!r} can't be checked", hint="use sha256: and 64 hex digits")
    return found[1].lower()


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
        data=encode(build_prediction_document(prediction, artifact)).encode(),
        extensions={
            **{name: cause.extensions[name] for name in COPIED_EXTENSIONS if name in cause.extensions},
            "causeid": cause.id,
            "causesource": cause.source,
            **prediction.attributes,
            "model": artifact.manifest.name,
            "modelversion": artifact.manifest.version,
        },
    )


def _open_fetcher(settings: FunctionSettings, environ: Mapping[str, str]) -> DatarefFetcher:
    """Create the fetcher of datarefs; its modules are imported only when used, because TLS delays a cold start."""
    from eaves.http_client.proxies import parse_proxies
    from functions.dataref import DatarefFetcher
    from functions.url_policy import UrlPolicy

    policy = UrlPolicy(
        hosts=settings.dataref_hosts, schemes=settings.dataref_schemes, networks=settings.dataref_networks
    )
    signer = None
    if settings.dataref_credentials is not None:
        from functions.request_signer import RequestSigner

        signer = RequestSigner(settings.dataref_credentials, region=settings.dataref_region)
    return DatarefFetcher(
        policy,
        max_bytes=settings.max_body_bytes,
        timeout_s=settings.dataref_timeout_s,
        proxies=parse_proxies(environ),
        signer=signer,
    )


EXTRA_PERMITS = 1
"""Number of requests that are decoded while all runs of the model are taken. So the next run begins as soon as a run
ends, while the other request's reply is built."""


class Admission:
    """Counting semaphores with a bounded queue, which limit the predictions, the runs and the requests that wait.

    Args:
        concurrency: Maximum number of concurrent runs of the model; `EXTRA_PERMITS` more requests hold a permit.
        queue: Maximum number of requests that wait.

    Attributes:
        permits: Permits to make one prediction; their holder holds a queue slot.
        turns: Turns to run the model once; their holder holds a permit.
        inside: Number of requests that hold a queue slot.
    """

    def __init__(self, *, concurrency: int, queue: int) -> None:
        self.permits = threading.Semaphore(concurrency + EXTRA_PERMITS)
        self.turns = threading.Semaphore(concurrency)
        self._max_inside = concurrency + queue
        self._lock = threading.Lock()
        self.inside = 0

    @contextmanager
    def queue_slot(self) -> Iterator[None]:
        """Hold a queue slot until the end of the block.

        A request holds it while it waits for a permit, or does work that needs no permit.

        Raises:
            OverloadedError: At once, when the queue is full.
        """
        with self._lock:
            if self.inside >= self._max_inside:
                raise OverloadedError("the function's queue is full", hint="send again later")
            self.inside += 1
        try:
            yield
        finally:
            with self._lock:
                self.inside -= 1


class FetchMemory:
    """Memory budget that all fetches of event data share.

    Fetches draw on it bit by bit, as sizes aren't known in advance.

    Args:
        size_bytes: Size of the budget, bytes.
    """

    def __init__(self, size_bytes: int) -> None:
        self._lock = threading.Lock()
        self._left = size_bytes

    @contextmanager
    def share(self) -> Iterator[Callable[[int], None]]:
        """Return a function that reserves bytes of the budget; all of them are released at the end of the block.

        Raises:
            OverloadedError: From the returned function, when the budget is used up.
        """
        taken = 0

        def reserve(size_bytes: int) -> None:
            nonlocal taken
            with self._lock:
                if size_bytes > self._left:
                    raise OverloadedError("the limit of memory for fetched data is reached", hint="send again later")
                self._left -= size_bytes
                taken += size_bytes

        try:
            yield reserve
        finally:
            with self._lock:
                self._left += taken
