"""Builders of the publisher of a trigger's events to MQTT: a StatefulSet with a queue on a volume, behind a Service.

Knative delivers by HTTP only. So the Trigger's subscriber is a Service with one process of the agents' container image
behind it, which answers once an event is in its queue, and publishes from the queue.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from eaves.admin.agent import LIVE
from eaves.config import iter_leaves
from eaves.delivery.mqtt.settings import MqttTriggerSettings
from eaves.platform.quantities import find_room
from eaves.publisher.settings import PublisherSettings
from knative.client.kinds import NETWORK_POLICY, SERVICE, STATEFUL_SET
from knative.resources.eventing import publisher_name
from knative.resources.fields.credentials import FOLDER, build_credentials
from knative.resources.fields.labels import APP_LABEL
from knative.resources.fields.metadata import build_object
from knative.resources.fields.network_peers import EVENTING_NAMESPACE, build_namespace_peer
from knative.resources.fields.pod import USER, build_env, build_pull_secrets, build_security, build_temporary
from knative.settings import KnativeSettings, SiteSettings
from knative.specs import ClusterApp, ClusterTrigger

PART = "publisher"
TRIGGER_LABEL = "eaves.dev/trigger"
CONTAINER = "publisher"
EVENTS_PORT, METRICS_PORT = 8080, 9090
SPOOL = "/spool"
MEMORY = "512Mi"
"""Memory limit of a publisher's pod. Measured: 372 MB with events of 20 MB, four of which are published at the same
time."""
_DEFAULTS = {leaf.path: leaf.default for leaf in iter_leaves(PublisherSettings)}
_ENV = {leaf.path: leaf.env for leaf in iter_leaves(PublisherSettings)}
_PROBE = {"periodSeconds": 30, "timeoutSeconds": 5, "failureThreshold": 20}
"""Liveness probe that fails after 10 minutes, since reading a damaged spool of gigabytes may take that long."""


def build_publishers(app: ClusterApp, settings: KnativeSettings, site: SiteSettings) -> Iterator[dict[str, Any]]:
    """Build every object that publishes an app's events to MQTT brokers."""
    for trigger in app.triggers:
        if trigger.is_mqtt:
            if settings.network_policy:
                yield _policy(app, trigger, site)
            yield _service(app, trigger, site)
            yield _stateful_set(app, trigger, settings, site)


def _service(app: ClusterApp, trigger: ClusterTrigger, site: SiteSettings) -> dict[str, Any]:
    ports = [{"name": "http", "port": 80, "targetPort": "events"}]
    made = build_object(SERVICE, publisher_name(app, trigger), app, site, PART, more_labels=_trigger_label(trigger))
    return {**made, "spec": {"selector": _selector(app, trigger), "ports": ports}}


def _policy(app: ClusterApp, trigger: ClusterTrigger, site: SiteSettings) -> dict[str, Any]:
    """Build the NetworkPolicy that admits events only from Eventing's dispatchers, and requests for metrics.

    The dispatchers apply the Trigger's filters.
    """
    eventing = build_namespace_peer(EVENTING_NAMESPACE)
    made = build_object(
        NETWORK_POLICY, publisher_name(app, trigger), app, site, PART, more_labels=_trigger_label(trigger)
    )
    return {
        **made,
        "spec": {
            "podSelector": {"matchLabels": _selector(app, trigger)},
            "policyTypes": ["Ingress"],
            "ingress": [
                {"from": [eventing], "ports": [{"protocol": "TCP", "port": EVENTS_PORT}]},
                {"from": [{"namespaceSelector": {}}], "ports": [{"protocol": "TCP", "port": METRICS_PORT}]},
            ],
        },
    }


def _stateful_set(
    app: ClusterApp, trigger: ClusterTrigger, settings: KnativeSettings, site: SiteSettings
) -> dict[str, Any]:
    name = publisher_name(app, trigger)
    made = build_object(STATEFUL_SET, name, app, site, PART, more_labels=_trigger_label(trigger))
    spool = {
        "metadata": {"name": "spool"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": trigger.mqtt.spool_size}}},
    }
    template = {"metadata": {"labels": dict(made["metadata"]["labels"])}, "spec": _pod(app, trigger, settings)}
    return {
        **made,
        "spec": {
            "replicas": 1,
            "serviceName": name,
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": _selector(app, trigger)},
            "template": template,
            "volumeClaimTemplates": [spool],
        },
    }


def _pod(app: ClusterApp, trigger: ClusterTrigger, settings: KnativeSettings) -> dict[str, Any]:
    volume, mount = build_temporary()
    volumes, mounts = [volume], [mount, {"name": "spool", "mountPath": SPOOL}]
    if trigger.mqtt.secret:
        secret, folder = build_credentials(trigger.mqtt.secret)
        volumes.append(secret)
        mounts.append(folder)
    container = {
        "name": CONTAINER,
        "image": settings.agent_image,
        "command": ["python", "-P", "-m", "eaves.publisher"],
        "env": build_env(_variables(app, trigger)),
        "ports": [
            {"name": "events", "containerPort": EVENTS_PORT},
            {"name": "metrics", "containerPort": METRICS_PORT},
        ],
        "readinessProbe": {"tcpSocket": {"port": "events"}, "periodSeconds": 5},
        "livenessProbe": {"httpGet": {"path": LIVE, "port": "metrics"}, **_PROBE},
        "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": MEMORY}},
        "securityContext": build_security(),
        "volumeMounts": mounts,
    }
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "serviceAccountName": app.function.name,
        "securityContext": {"fsGroup": USER},
        **build_pull_secrets(settings),
        "containers": [container],
        "volumes": volumes,
    }


def _variables(app: ClusterApp, trigger: ClusterTrigger) -> dict[str, str]:
    """Build the environment variables of a publisher.

    Of the settings in the section `mqtt`, only values that differ from the defaults are included.
    """
    values = {
        "app": app.function.name,
        "site": app.function.site,
        "url": trigger.url,
        "host": "0.0.0.0",  # noqa: S104 - the pod's own; Eventing, the kubelet and scrapers connect from outside
        "port": str(EVENTS_PORT),
        "health_port": str(METRICS_PORT),
        "spool": f"{SPOOL}/publisher.db",
        **{path: size for path, size in find_room(trigger.mqtt.spool_size).items() if size != str(_DEFAULTS[path])},
    }
    for leaf in iter_leaves(MqttTriggerSettings):
        value = getattr(trigger.mqtt, leaf.path)
        if leaf.path != "credentials" and value != _DEFAULTS[f"mqtt.{leaf.path}"]:
            values[f"mqtt.{leaf.path}"] = str(value).lower() if isinstance(value, bool) else str(value)
    if trigger.mqtt.secret:
        values["mqtt.credentials"] = FOLDER
    return {_ENV[path]: value for path, value in values.items()}


def _selector(app: ClusterApp, trigger: ClusterTrigger) -> dict[str, str]:
    return {APP_LABEL: app.function.name, TRIGGER_LABEL: trigger.name}


def _trigger_label(trigger: ClusterTrigger) -> dict[str, str]:
    return {TRIGGER_LABEL: trigger.name}
