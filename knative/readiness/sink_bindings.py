"""Repair of SinkBindings that report an unresolved sink although it exists again: Knative must reconcile them again.

Knative's webhook resolves the sink of a SinkBinding when the agent that the SinkBinding is for is changed, and writes
the result into the copy of the SinkBinding that Knative's reconciler compares with. So when a sink that was gone is
available again, the agent gets the sink's address, but the reconciler finds no difference, and the SinkBinding reports
an unresolved sink forever. Any change of the SinkBinding makes Knative reconcile it; an annotation is a change without
another effect.

Source: knative.dev/pkg, webhook/psbinding/psbinding.go (Admit calls Do on objects of the informer) and reconciler.go
(Reconcile compares with the same objects); seen with Eventing 1.22.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from eaves.errors import AbsentError
from knative.client.kinds import BROKER, CONTAINER_SOURCE, SINK_BINDING
from knative.diagnosis.evidence import condition
from knative.readiness.conditions import DESTINATION
from knative.readiness.parts import AppPart
from knative.resources.metadata import TOUCH_MANAGER, TOUCHED_ANNOTATION

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

Object = Mapping[str, Any]
AGAIN_S = 10.0
"""Minimum seconds before the same SinkBinding is annotated again; Knative takes one or two seconds to reconcile it."""

_log = logging.getLogger(__name__)


class BindingToucher:
    """Annotator of SinkBindings that report an unresolved sink, while a deploy waits for them.

    Args:
        cluster: Connection to the cluster, in the app's namespace.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._next = 0.0

    def touch(self, left: Sequence[AppPart]) -> None:
        """Annotate the SinkBindings of the given parts that report an unresolved sink, once the Broker is ready.

        Args:
            left: The parts that aren't ready.

        Raises:
            ClusterError: When a request to the cluster is refused or fails.
        """
        waiting = [part for part in left if part.diagnosis is not None and part.diagnosis.cause == DESTINATION]
        bound = {
            (part.namespace, part.kind, part.name)
            for part in waiting
            if part.kind in {SINK_BINDING.kind, CONTAINER_SOURCE.kind}
        }
        brokers_ready = all(part.kind != BROKER.kind for part in left)
        if not bound or not brokers_ready or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + AGAIN_S
        for namespace in sorted({place for place, _, _ in bound}):
            for one in self._cluster.list(SINK_BINDING, namespace=namespace):
                if _is_unresolved(one) and not bound.isdisjoint(_names_of(one, namespace)):
                    touch_binding(self._cluster, one)


def touch_binding(cluster: Cluster, binding: Object) -> None:
    """Annotate a SinkBinding with the present time, so that Knative reconciles it.

    Raises:
        ClusterError: When a request to the cluster is refused or fails.
    """
    metadata = binding["metadata"]
    change = {"metadata": {"annotations": {TOUCHED_ANNOTATION: datetime.now(UTC).isoformat()}}}
    _log.info("an annotation makes Knative process the SinkBinding %s again", metadata["name"])
    with suppress(AbsentError):  # it was deleted in between
        cluster.patch(
            SINK_BINDING, str(metadata["name"]), change, manager=TOUCH_MANAGER, namespace=str(metadata["namespace"])
        )


def _is_unresolved(binding: Object) -> bool:
    return condition(binding, "SinkProvided").get("status") == "False"


def _names_of(binding: Object, namespace: str) -> set[tuple[str, str, str]]:
    """Return the parts that a SinkBinding affects: the SinkBinding itself, and the ContainerSource that owns it."""
    owners = binding["metadata"].get("ownerReferences") or ()
    names = {(namespace, str(one.get("kind")), str(one.get("name"))) for one in owners}
    return {(namespace, SINK_BINDING.kind, str(binding["metadata"]["name"])), *names}
