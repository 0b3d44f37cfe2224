"""SinkBindings that say their sink can't be resolved although it can: Knative is made to look at them again.

Knative's webhook resolves the sink of a SinkBinding when the agent that it binds is changed, and writes the outcome
into the copy that its reconciler compares with. When a sink that had gone is back, the agent gets its address, the
reconciler finds nothing new, and the SinkBinding says for ever that there is none. Any change of the SinkBinding makes
Knative read it anew; an annotation is one that does nothing else.

Source: knative.dev/pkg, webhook/psbinding/psbinding.go (Admit calls Do on objects of the informer) and reconciler.go
(Reconcile compares with the same objects); watched with Eventing 1.22.
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
from knative.resources.fields.labels import TOUCH_MANAGER, TOUCHED_ANNOTATION

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

Object = Mapping[str, Any]
AGAIN_S = 10.0
"""Seconds before a SinkBinding is touched again; Knative takes one or two to look at it."""

_log = logging.getLogger(__name__)


class BindingToucher:
    """Touches SinkBindings while a deploy waits for them.

    Args:
        cluster: The cluster, in the app's namespace.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._next = 0.0

    def touch(self, left: Sequence[AppPart]) -> None:
        """Touch the SinkBindings of the parts whose sink can't be resolved, once the Broker is ready.

        Args:
            left: The parts that aren't ready.

        Raises:
            ClusterError: When the cluster refuses or fails.
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
    """Let Knative look at a SinkBinding.

    Raises:
        ClusterError: When the cluster refuses or fails.
    """
    metadata = binding["metadata"]
    change = {"metadata": {"annotations": {TOUCHED_ANNOTATION: datetime.now(UTC).isoformat()}}}
    _log.info("Knative is made to look at the SinkBinding %s again", metadata["name"])
    with suppress(AbsentError):  # it was deleted meanwhile
        cluster.patch(
            SINK_BINDING, str(metadata["name"]), change, manager=TOUCH_MANAGER, namespace=str(metadata["namespace"])
        )


def _is_unresolved(binding: Object) -> bool:
    return condition(binding, "SinkProvided").get("status") == "False"


def _names_of(binding: Object, namespace: str) -> set[tuple[str, str, str]]:
    """The parts that a SinkBinding may be of: itself, or the ContainerSource that it is made for."""
    owners = binding["metadata"].get("ownerReferences") or ()
    names = {(namespace, str(one.get("kind")), str(one.get("name"))) for one in owners}
    return {(namespace, SINK_BINDING.kind, str(binding["metadata"]["name"])), *names}
