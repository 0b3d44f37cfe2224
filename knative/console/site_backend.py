"""The site as the console sees it: status and changes through the API server, events from the console's own history."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from eaves.admin import Queue
from eaves.base.clock import SYSTEM, Clock
from eaves.console.backend import CachedAnswer, Images, ModelLocation
from eaves.delivery import SinkResponse
from eaves.errors import ClusterError, NotFoundError, UnreachableClusterError
from eaves.events import Event
from eaves.history import Records
from eaves.platform import FunctionStatus
from knative.platform import KnativePlatform

STATUS_S = 5.0
"""Time for which a status is shown again, seconds. One status takes some 20 requests to the API server and the agents,
and many people may look at the pages."""


class SiteBackend:
    """Implements `eaves.console.backend.Backend` on one site.

    Queues and models are not shown: an agent's queue is changed by `eaves queue`, which runs a program in the agent's
    pod, and a pod has neither the runs nor the artifacts of its functions.

    Args:
        site: The site.
        send: Sends an event to a function, by its name, and returns the function's answer.
        title: Name of the site for people.
        records: History of the events that the console received.
        images: Images of these events.
        clock: Clock for the age of a status.
    """

    def __init__(
        self,
        site: KnativePlatform,
        *,
        send: Callable[[str, Event], SinkResponse],
        title: str,
        records: Records,
        images: Images,
        clock: Clock = SYSTEM,
    ) -> None:
        self.title = title
        self.records = records
        self.images = images
        self.invoke = send
        self._site = site
        self._status = CachedAnswer(self._read_status, STATUS_S, clock)

    def status(self) -> Sequence[FunctionStatus]:
        """Return the status of every function, at most `STATUS_S` old."""
        return self._status.get()

    def _read_status(self) -> Sequence[FunctionStatus]:
        with _seen_from_a_pod():
            return self._site.status()

    def queue_names(self) -> Sequence[str]:
        """Return no queue."""
        return ()

    def open_queue(self, name: str) -> AbstractContextManager[Queue]:
        """Refuse to open a queue."""
        raise NotFoundError("the console of a site opens no queues", hint="eaves queue list --on knative")

    def models(self) -> Sequence[ModelLocation]:
        """Return no models."""
        return ()

    def logs(self, function: str) -> Sequence[str]:
        """Return the last lines of a function's log, oldest first."""
        with _seen_from_a_pod():
            return self._site.logs(function, lines=100)

    def promote(self, function: str) -> None:
        """Send every request to the newest revision; a DeniedError when the console may only read."""
        with _seen_from_a_pod():
            self._site.promote(function)
        self._status.forget()

    def rollback(self, function: str) -> None:
        """Send every request to the previous revision; a DeniedError when the console may only read."""
        with _seen_from_a_pod():
            self._site.rollback(function)
        self._status.forget()


@contextmanager
def _seen_from_a_pod() -> Iterator[None]:
    """Replace the advice of an error about the connection: a viewer of the pages has no kubeconfig to check."""
    try:
        yield
    except ClusterError as error:
        if isinstance(error, UnreachableClusterError) or "kubeconfig" in (error.hint or ""):
            hint = f"kubectl logs {socket.gethostname()}   # the console's pod, which can't use its API server"
            raise UnreachableClusterError(error.message, hint=hint) from error
        raise
