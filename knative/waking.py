"""Has Knative look once more, at once, at a SinkBinding that it tries in longer and longer pauses.

After a Broker has been away for minutes, Knative's controller comes back to the SinkBindings that found none up to
minutes after there is one again; their pods are without K_SINK until then. Any change of the object makes it look.

Source: Kubernetes, client-go/util/workqueue, `DefaultControllerRateLimiter`; knative.dev/pkg, webhook/psbinding.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from eaves.errors import AbsentError, ConflictError
from knative.diagnosis.conditions import DESTINATION
from knative.diagnosis.parts import READY, Part
from knative.kinds import BROKER, SINK_BINDING

if TYPE_CHECKING:
    from knative.cluster import Cluster

ANNOTATION = "eaves.dev/looked-for-sink-at"
"""Unix seconds at which a deploy has asked Knative to look again, on a SinkBinding."""
WAKER = "eaves-wake"
"""Field manager of that annotation and of nothing else."""
PAUSE_S = 5.0
"""How long a SinkBinding is without its sink, with every Broker ready, before it is woken, and woken again, seconds."""


class Waker:
    """Wakes the SinkBindings of one wait.

    Args:
        cluster: The cluster.
        pause_s: Seconds before a SinkBinding is woken, and between two times.
    """

    def __init__(self, cluster: Cluster, *, pause_s: float = PAUSE_S) -> None:
        self._cluster = cluster
        self._pause_s = pause_s
        self._since: dict[tuple[str, str], float] = {}

    def wake(self, parts: Sequence[Part]) -> None:
        """Wake what has been without its sink for long enough.

        Args:
            parts: All parts of the app, as they are now.

        Raises:
            ClusterError: When the cluster refuses or fails.
        """
        now = time.monotonic()
        ready = all(part.state == READY for part in parts if part.kind == BROKER.kind)
        waiting = {(part.namespace, part.name) for part in parts if ready and _lacks_sink(part)}
        self._since = {key: self._since.get(key, now) for key in waiting}
        for key, since in self._since.items():
            if now - since >= self._pause_s:
                self._since[key] = now
                self._touch(*key)

    def _touch(self, namespace: str, name: str) -> None:
        found = self._cluster.get(SINK_BINDING, name, namespace=namespace)
        if found is None:
            return
        metadata = {key: found["metadata"][key] for key in ("name", "namespace", "uid")}
        metadata["annotations"] = {ANNOTATION: f"{self._cluster.clock():.3f}"}
        manifest = {"apiVersion": SINK_BINDING.api_version, "kind": SINK_BINDING.kind, "metadata": metadata}
        with suppress(AbsentError, ConflictError):  # it was removed meanwhile
            self._cluster.apply(manifest, manager=WAKER, force=True)


def _lacks_sink(part: Part) -> bool:
    return part.kind == SINK_BINDING.kind and part.diagnosis is not None and part.diagnosis.cause == DESTINATION
