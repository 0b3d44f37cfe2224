"""The model while it loads: opened, checked against its golden images, then ready; or failed, with the reason."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from eaves.errors import ArtifactError, EavesError, LoadingError
from functions.settings import FunctionSettings

if TYPE_CHECKING:
    from functions.classifier import Classifier

_log = logging.getLogger(__name__)


class Model:
    """Loads in a thread of its own, so that the server's imports and the weights' pages come in at the same time.

    Attributes:
        failure: Why it will never be ready; None while loading and when ready.
    """

    def __init__(self, settings: FunctionSettings) -> None:
        self._settings = settings
        self._classifier: Classifier | None = None
        self._done = threading.Event()
        self.failure: EavesError | None = None

    def start(self) -> None:
        """Begin to load."""
        threading.Thread(target=self._load, name="model", daemon=True).start()

    @property
    def ready(self) -> bool:
        """Whether it answers."""
        return self._classifier is not None

    def classifier(self, *, wait_s: float = 60.0) -> Classifier:
        """The loaded classifier; waits while it loads: a cold start costs the first sender time, not an error.

        Raises:
            ArtifactError: When it failed.
            LoadingError: When it doesn't come up in time.
        """
        self._done.wait(wait_s)
        if self._classifier is None:
            raise self.failure or LoadingError("the model is still loading", hint="send again later")
        return self._classifier

    def _load(self) -> None:
        start = time.perf_counter()
        try:
            self._classifier = self._open()
            duration_ms = (time.perf_counter() - start) * 1000
            digest = self._classifier.artifact.digest[:12]
            _log.info("ready: artifact %s in %.0f ms", digest, duration_ms, extra={"duration_ms": round(duration_ms)})
        except EavesError as error:
            self.failure = error
            _log.error("never ready: %s%s", error.message, f" (try: {error.hint})" if error.hint else "")
        except Exception as error:  # noqa: BLE001 - a thread that dies silently would leave the probe at "loading"
            self.failure = ArtifactError(f"the model can't be loaded: {type(error).__name__}")
            _log.exception("never ready")
        finally:
            self._done.set()

    def _open(self) -> Classifier:
        # Imported here: numpy and onnxruntime load in this thread while the main one imports Flask.
        from eaves.artifact import check, load_golden, open_artifact
        from functions.classifier import Classifier
        from functions.handler import load_handler
        from functions.session import open_session

        artifact = open_artifact(self._settings.artifact)
        if self._settings.artifact_digest not in ("", artifact.digest):
            raise ArtifactError(
                f"{artifact.path} is {artifact.digest[:12]}, but {self._settings.artifact_digest[:12]} was deployed",
                hint="deploy it again, or put back what was deployed",
            )
        session = open_session(artifact)
        handler = load_handler(artifact)
        if self._settings.self_test != "none":
            cases = load_golden(artifact)
            chosen = cases[:1] if self._settings.self_test == "first" else cases
            check(artifact, session.attempt, chosen, prepare=handler.preprocess if handler else None)
        return Classifier(
            artifact, session, top_k=self._settings.top_k, handler=handler, max_pixels=self._settings.max_pixels
        )
