"""Loading of the model: it is opened and checked against its golden images, and is then ready or failed.

The session opens before Pillow and the task's modules are imported, so those are imported inside functions here.
"""

from __future__ import annotations

import copy
import importlib
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from eaves.artifact import Artifact, check, load_golden, open_artifact
from eaves.errors import ArtifactError, EavesError, HandlerError, LoadingError, StoppedError
from eaves.inference.prepared_graphs import discard_graph, find_graph
from eaves.inference.session import (
    ActivePredictions,
    Session,
    SessionPool,
    open_session,
    plan_threads,
)
from eaves.resource_limits import count_usable_cpus, read_memory_limit
from functions.settings import FunctionSettings
from functions.start import StartTiming

if TYPE_CHECKING:
    from eaves.inference.handler import Handler
    from functions.pipeline import Pipeline

LATER_MODULES = ("eaves.cloudevents_sdk", "functions.routes")
"""Modules that a prediction for an image doesn't need: those for events, and Flask. Their import takes 70 ms."""
LATER_IMPORT_WAIT_S = 0.5
"""Maximum seconds from the end of the loading to the import of `LATER_MODULES`, which waits for the first prediction.

A request that arrives earlier and needs them imports them itself.
"""
_log = logging.getLogger(__name__)


class LoadingModel:
    """A model that loads in its own thread, at the same time as the main thread imports the server's modules.

    Args:
        settings: The function's settings.
        timing: Times of this process's start.

    Attributes:
        failure: Reason why the model can never be used; None while it loads and when it is ready.
        draining: Whether the process is ending: it still answers requests, but should get no new requests.
        ready_at: Time when the model became ready, Unix seconds; 0 before.
        active: Counter of the predictions that run or wait; each prediction is counted by its caller.
        pool: The model's sessions; None until the first one is open.
    """

    def __init__(self, settings: FunctionSettings, timing: StartTiming) -> None:
        self._settings = settings
        self._timing = timing
        self._predictor: Pipeline | None = None
        self._opened = threading.Event()
        self._done = threading.Event()
        self._answered = threading.Event()
        self.failure: EavesError | None = None
        self.draining = False
        self.ready_at = 0.0
        self.active = ActivePredictions()
        self.pool: SessionPool | None = None

    def start(self) -> None:
        """Start the thread that loads the model."""
        threading.Thread(target=self._load, name="model", daemon=True).start()

    def drain(self) -> None:
        """Make the readiness probe fail from now on, because the process is ending."""
        self.draining = True

    @property
    def ready(self) -> bool:
        """Whether the model is loaded and has passed its golden check."""
        return self._done.is_set() and self.failure is None

    @property
    def proven(self) -> Pipeline | None:
        """The predictor once its golden check has passed; None before, and after a failure.

        It is also returned while the process ends.
        """
        return self._predictor if self.ready else None

    def require_ready(self) -> Pipeline:
        """Return the predictor if the function should get requests: the model is ready and the process isn't ending.

        Raises:
            EavesError: When the model isn't ready yet, has failed, or the process is ending; the message says which.
        """
        if self.draining:
            raise StoppedError("the process is shutting down", hint="send the request to another replica")
        if (predictor := self.proven) is None:
            raise self._build_refusal("loading")
        self._timing.mark("first probe")
        return predictor

    def wait(self, timeout_s: float) -> None:
        """Wait until the model is ready or has failed, at most `timeout_s` seconds."""
        self._done.wait(timeout_s)

    @contextmanager
    def use(self, *, wait_s: float = 60.0) -> Iterator[Pipeline]:
        """Return the predictor once the model is loaded. So a request during a cold start is delayed and not refused.

        A request that arrives during the golden check is computed at the same time, and its response is sent only after
        the check has passed. So the check hardly delays the first response, and no response comes from a model whose
        check failed.

        Raises:
            ArtifactError: When the model failed to load.
            LoadingError: When it doesn't become ready in time.
        """
        deadline = time.monotonic() + wait_s
        self._timing.mark("first request")
        self._opened.wait(wait_s)
        if self._predictor is None:
            raise self._build_refusal("loading")
        try:
            yield self._predictor
        finally:  # an error is the sender's or the graph's fault; only a proven graph tells which
            self._done.wait(max(0.0, deadline - time.monotonic()))
            self._answered.set()
            if not self.ready:
                raise self._build_refusal("being checked")
            if self._settings.timing:
                self._timing.log_once("first prediction")

    def _build_refusal(self, state: str) -> EavesError:
        """Build the error for a request that the model can't answer.

        Each caller gets a new error: raising one error again and again would keep the stack frames of every request.
        """
        if self.failure is not None:
            return copy.copy(self.failure)
        return LoadingError(f"the model is still {state}", hint="send again in a moment")

    def _load(self) -> None:
        start = time.perf_counter()
        try:
            artifact = self._open()
            self.ready_at = time.time()
            duration_ms = (time.perf_counter() - start) * 1000
            digest = artifact.digest[:12]
            _log.info("ready: artifact %s in %.0f ms", digest, duration_ms, extra={"duration_ms": round(duration_ms)})
        except EavesError as error:
            # A handler that can't be loaded, or a golden case that can't be read, makes an artifact that can't be
            # served. This is 503, not a request's 500 or 4xx, which would make a broker give up every image.
            served = isinstance(error, ArtifactError)
            self.failure = copy.copy(error) if served else ArtifactError(error.message, hint=error.hint)
            hint = f" (try: {error.hint})" if error.hint else ""
            _log.error(
                "never ready: %s%s", error.message, hint, exc_info=error if isinstance(error, HandlerError) else None
            )
        except Exception as error:  # noqa: BLE001 - a thread that dies silently would leave the probe at "loading"
            self.failure = ArtifactError(f"the model can't be loaded: {type(error).__name__}")
            _log.exception("never ready: %s", self.failure.message)
        finally:
            self._done.set()
            self._opened.set()
        # Their import delays neither the server's imports nor a first image.
        self._answered.wait(LATER_IMPORT_WAIT_S)
        for name in LATER_MODULES:
            importlib.import_module(name)

    def _open(self) -> Artifact:
        artifact = open_artifact(self._settings.artifact)
        if self._settings.artifact_digest not in ("", artifact.digest):
            raise ArtifactError(
                f"{artifact.path} has the digest {artifact.digest[:12]}, but "
                f"{self._settings.artifact_digest[:12]} was deployed",
                hint="deploy the artifact again, or restore the one that was deployed",
            )
        self._timing.mark("open artifact")
        prepared, cpus = find_graph(self._settings.prepared_graphs, artifact), count_usable_cpus()
        # Sessions that use the weights as they are in the file share them.
        shares_weights = not artifact.manifest.optimise_on_open or prepared is not None
        plan = plan_threads(
            cpus=cpus,
            concurrency=self._settings.concurrency or cpus,
            own_bytes=0 if shares_weights else artifact.weights_bytes,
            memory_bytes=read_memory_limit(),
            limit=self._settings.threads,
        )
        session = open_session(artifact, threads=plan.threads, prepared=self._settings.prepared_graphs)
        self._timing.mark("open session")
        # The main thread imports these modules meanwhile; if it is still at it, the import waits for it.
        from eaves.inference.handler import load_handler
        from functions.pipeline import open_predictor

        handler = load_handler(artifact)
        self.pool = SessionPool(session, plan, self.active)
        self._predictor = open_predictor(artifact, self.pool, self._settings, handler)
        self._opened.set()
        self._timing.mark("open predictor")
        if self._settings.self_test != "none":
            try:
                _replay(artifact, session, handler, every=self._settings.self_test == "all")
            except ArtifactError as error:
                if prepared is not None:
                    discard_graph(prepared, error.message)
                raise
            self._timing.mark("golden check")

        def open_second() -> Session:  # it reproduces a golden case too before it gets requests
            second = open_session(artifact, threads=1, prepared=self._settings.prepared_graphs)
            _replay(artifact, second, handler, every=False)
            return second

        self.pool.allow_second(open_second)
        return artifact


def _replay(artifact: Artifact, session: Session, handler: Handler, *, every: bool) -> None:
    cases = load_golden(artifact)
    check(artifact, handler.follow(session.attempt), cases if every else cases[:1], prepare=handler.preprocess)
