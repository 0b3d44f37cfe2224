"""Builders of the publisher of a trigger's events to MQTT: a StatefulSet with a queue on a volume, behind a Service.

Knative delivers by HTTP only. So the Trigger's subscriber is a Service with one process of the agents' container image
behind it, which answers once an event is in its queue, and publishes from the queue.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from eaves.config import iter_leaves
from eaves.delivery.sinks import MqttTriggerSettings
from eaves.link.settings import PublisherSettings
from eaves.platform import TriggerSpec
from eaves.platform.quantities import find_room
from knative.resources.eventing import publisher_name
from knative.resources.metadata import EVENTING_NAMESPACE, build_namespace_peer
from knative.resources.pod import (
    CREDENTIALS_FOLDER,
    build_credentials,
    common_fragment,
)
from knative.resources.server import METRICS_PORT, build_queue_values, build_server_pod, metrics_peers, mount_spool
from knative.resources.workload import build_app_part
from knative.settings import ClusterApp

PART = "publisher"
TRIGGER_LABEL = "eaves.dev/trigger"
CONTAINER = "publisher"
EVENTS_PORT = 8080
MEMORY = "512Mi"
"""Memory limit of a publisher's pod. Measured: 372 MB with events of 20 MB, four of which are published at the same
time."""


def build_publishers(app: ClusterApp) -> Iterator[dict[str, Any]]:
    """Build every object that publishes an app's events to MQTT brokers.

    A publisher admits events only from Eventing's dispatchers, which apply the Trigger's filters.
    """
    for trigger in app.triggers:
        if not trigger.needs_publisher:
            continue
        name, own = publisher_name(app, trigger), {TRIGGER_LABEL: trigger.name}
        publisher = build_app_part(app, name, PART, own=own)
        if app.knative.network_policy:
            eventing = [build_namespace_peer(EVENTING_NAMESPACE)]
            yield publisher.build_policy(
                (EVENTS_PORT, eventing), (METRICS_PORT, metrics_peers(app.knative.metrics_namespaces))
            )
        yield publisher.build_service(("http", 80, "events"))
        yield publisher.build_stateful_set(_pod(app, trigger), {"spool": trigger.mqtt.spool_size})


def _pod(app: ClusterApp, trigger: TriggerSpec) -> dict[str, Any]:
    """Build the pod of a publisher; of its section `mqtt` it gets only the values that differ from the defaults."""
    values = {
        "app": app.name,
        "site": app.function.site,
        "url": trigger.url,
        **find_room(trigger.mqtt.spool_size),
        **build_queue_values("publisher", EVENTS_PORT),
    }
    for leaf in iter_leaves(MqttTriggerSettings):
        value = getattr(trigger.mqtt, leaf.path)
        if leaf.path != "credentials" and value != leaf.default:
            values[f"mqtt.{leaf.path}"] = str(value).lower() if isinstance(value, bool) else str(value)
    if trigger.mqtt.secret:
        values["mqtt.credentials"] = CREDENTIALS_FOLDER
    return build_server_pod(
        "eaves.link.publisher",
        app.knative.agent_image,
        PublisherSettings,
        values,
        ports={"events": EVENTS_PORT, "metrics": METRICS_PORT},
        memory=MEMORY,
        fragment=common_fragment(app.pod),
        folders=[mount_spool(), *([build_credentials(trigger.mqtt.secret)] if trigger.mqtt.secret else [])],
        serviceAccountName=app.name,
    )
