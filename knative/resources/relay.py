"""Builders of the relay of an app at a site: a StatefulSet with a queue on a volume, behind a Service.

Agents that call the function send its predictions to the relay, which passes a copy to the Broker. For events that go
through the Broker, one Trigger sends the function's replies to the relay, and every Trigger sends its dead letters
there. The relay answers once an event is in its queue.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from eaves.admin.agent import LIVE
from eaves.config import iter_leaves
from eaves.events import source_uri
from eaves.platform import RELAY, DeliverySettings
from eaves.platform.relay import ALL, EDGE
from eaves.relay.relay_lanes import FROM_BROKER
from eaves.relay.settings import RelaySettings
from knative.client.kinds import BROKER, NETWORK_POLICY, SERVICE, SINK_BINDING, STATEFUL_SET, TRIGGER
from knative.resources.eventing import build_delivery, duration, relay_name
from knative.resources.fields.credentials import FOLDER, build_credentials
from knative.resources.fields.labels import APP_LABEL, NAMESPACE_LABEL, PART_LABEL
from knative.resources.fields.metadata import build_object, reference
from knative.resources.fields.network_peers import EVENTING_NAMESPACE, build_namespace_peer
from knative.resources.fields.pod import USER, build_env, build_pull_secrets, build_security, build_temporary
from knative.settings import KnativeSettings, SiteSettings
from knative.specs import ClusterApp, ClusterSource

PART = RELAY
CONTAINER = "relay"
EVENTS_PORT, METRICS_PORT = 8080, 9090
SPOOL = "/spool"
AGENTS = "source"
"""Value of PART_LABEL on the pods of agents, which may send events to the relay."""
MEMORY = "512Mi"
"""Memory limit of a relay's pod. An image of 20 MB takes several times its size in memory while it is stored, packed
and sent."""
RETRIES, STEP_S = 600, 1
PATIENCE = {"retry": RETRIES, "backoffPolicy": "linear", "backoffDelay": duration(STEP_S)}
"""Fields of a Trigger's delivery to the relay: retries after pauses of 1 s, 2 s, ..., 600 s.

With pauses that double, they would grow to days, and a relay that is available again would wait for its events as long.
Source: knative/eventing, pkg/kncloudevents/retries.go: neither `retry` nor a pause has an upper bound."""
PATIENCE_S = STEP_S * RETRIES * (RETRIES + 1) / 2
"""Seconds over which delivery to the relay is retried: 50 hours."""
_ENV = {leaf.path: leaf.env for leaf in iter_leaves(RelaySettings)}
_PROBE = {"periodSeconds": 30, "timeoutSeconds": 5, "failureThreshold": 20}
"""Liveness probe that fails after 10 minutes, since reading a damaged spool of gigabytes may take that long."""


def build_relay(app: ClusterApp, settings: KnativeSettings, site: SiteSettings) -> Iterator[dict[str, Any]]:
    """Build every object of an app's relay; there are none when it has no relay.

    The SinkBinding comes before the workload that it binds. So the workload starts only once, with the address of its
    Broker.
    """
    if not app.relay.enabled:
        return
    if settings.network_policy:
        yield _policy(app, settings, site)
    yield _service(app, site)
    yield _binding(app, settings, site)
    yield _stateful_set(app, settings, site)


def build_relay_triggers(app: ClusterApp, settings: KnativeSettings, site: SiteSettings) -> Iterator[dict[str, Any]]:
    """Build the Triggers that send the function's replies (and images, if all are forwarded) from Broker to relay.

    Events that an agent sends to the relay directly are left out.
    """
    if not app.relay.enabled:
        return
    function, place = app.function.name, app.function.site
    filters: list[dict[str, Any]] = [{"exact": {"source": source_uri(place, function)}}]
    filters += [
        {"not": {"exact": {"causesource": source_uri(place, source.name)}}}
        for source in app.sources
        if sends_to_relay(app, source)
    ]
    yield _trigger(app, settings, site, relay_name(app), filters)
    through_broker = [source.name for source in app.sources if source.through == "broker"]
    if app.relay.images == ALL and through_broker:
        images = [{"exact": {"source": source_uri(place, name)}} for name in through_broker]
        yield _trigger(app, settings, site, f"{relay_name(app)}-images", [{"any": images}])


def sends_to_relay(app: ClusterApp, source: ClusterSource) -> bool:
    """Return whether the agent of a source sends its predictions directly to the relay."""
    return app.relay.enabled and app.through == EDGE and source.through == "function"


def relay_reference(app: ClusterApp, site: SiteSettings) -> dict[str, str]:
    """Build the reference to the relay's Service, for use as the sink of an agent."""
    return reference(SERVICE, relay_name(app), site.namespace)


def _trigger(
    app: ClusterApp, settings: KnativeSettings, site: SiteSettings, name: str, filters: list[dict[str, Any]]
) -> dict[str, Any]:
    """Build a Trigger that sends the events that match the filters to the relay.

    Its dead letters are not sent to the relay, which has just refused them.
    """
    made = build_object(TRIGGER, name, app, site, "trigger")
    spec = {
        "broker": settings.broker,
        "filters": filters,
        "subscriber": {"ref": relay_reference(app, site), "uri": FROM_BROKER},
        "delivery": {**build_delivery(DeliverySettings(), settings.dead_letter_sink), **PATIENCE},
    }
    return {**made, "spec": spec}


def _service(app: ClusterApp, site: SiteSettings) -> dict[str, Any]:
    ports = [{"name": "http", "port": 80, "targetPort": "events"}]
    made = build_object(SERVICE, relay_name(app), app, site, PART)
    return {**made, "spec": {"selector": _selector(app), "ports": ports}}


def _policy(app: ClusterApp, settings: KnativeSettings, site: SiteSettings) -> dict[str, Any]:
    """Build the NetworkPolicy that admits events of Eventing's dispatchers and the app's agents, and metrics reads."""
    labels = {APP_LABEL: app.function.name, PART_LABEL: AGENTS}
    home = {NAMESPACE_LABEL: site.namespace} if site.namespace else {}
    agents = {"matchLabels": labels}
    peers = [
        build_namespace_peer(EVENTING_NAMESPACE),
        {"podSelector": agents},
        {**build_namespace_peer(settings.agent_namespace), "podSelector": {"matchLabels": {**labels, **home}}},
    ]
    made = build_object(NETWORK_POLICY, relay_name(app), app, site, PART)
    return {
        **made,
        "spec": {
            "podSelector": {"matchLabels": _selector(app)},
            "policyTypes": ["Ingress"],
            "ingress": [
                {"from": peers, "ports": [{"protocol": "TCP", "port": EVENTS_PORT}]},
                {"from": [{"namespaceSelector": {}}], "ports": [{"protocol": "TCP", "port": METRICS_PORT}]},
            ],
        },
    }


def _binding(app: ClusterApp, settings: KnativeSettings, site: SiteSettings) -> dict[str, Any]:
    """Build the SinkBinding that sets the variable `K_SINK` of the relay to the address of the site's Broker."""
    name = relay_name(app)
    sink = {"ref": reference(BROKER, settings.broker, site.namespace)}
    made = build_object(SINK_BINDING, name, app, site, PART)
    return {**made, "spec": {"subject": reference(STATEFUL_SET, name, site.namespace), "sink": sink}}


def _stateful_set(app: ClusterApp, settings: KnativeSettings, site: SiteSettings) -> dict[str, Any]:
    name = relay_name(app)
    made = build_object(STATEFUL_SET, name, app, site, PART)
    spool = {
        "metadata": {"name": "spool"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": app.relay.spool_size}}},
    }
    template = {"metadata": {"labels": dict(made["metadata"]["labels"])}, "spec": _pod(app, settings)}
    return {
        **made,
        "spec": {
            "replicas": 1,
            "serviceName": name,
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": _selector(app)},
            "template": template,
            "volumeClaimTemplates": [spool],
        },
    }


def _pod(app: ClusterApp, settings: KnativeSettings) -> dict[str, Any]:
    volume, mount = build_temporary()
    secret, folder = build_credentials(app.relay.secret)
    container = {
        "name": CONTAINER,
        "image": settings.agent_image,
        "command": ["python", "-P", "-m", "eaves.relay"],
        "env": build_env(_variables(app)),
        "ports": [
            {"name": "events", "containerPort": EVENTS_PORT},
            {"name": "metrics", "containerPort": METRICS_PORT},
        ],
        "readinessProbe": {"tcpSocket": {"port": "events"}, "periodSeconds": 5},
        "livenessProbe": {"httpGet": {"path": LIVE, "port": "metrics"}, **_PROBE},
        "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": MEMORY}},
        "securityContext": build_security(),
        "volumeMounts": [mount, {"name": "spool", "mountPath": SPOOL}, folder],
    }
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "serviceAccountName": app.function.name,
        "securityContext": {"fsGroup": USER},
        **build_pull_secrets(settings),
        "containers": [container],
        "volumes": [volume, secret],
    }


def _variables(app: ClusterApp) -> dict[str, str]:
    """Build the environment variables of the relay's process."""
    values = {
        "site": app.function.site,
        **app.relay.settings,
        "credentials": FOLDER,
        "host": "0.0.0.0",  # noqa: S104 - the pod's own; agents, Eventing and metrics scrapers connect from outside
        "port": str(EVENTS_PORT),
        "health_port": str(METRICS_PORT),
        "has_broker": "true",
        "spool": f"{SPOOL}/relay.db",
    }
    return {_ENV[path]: value for path, value in values.items()}


def _selector(app: ClusterApp) -> dict[str, str]:
    return {APP_LABEL: app.function.name, PART_LABEL: PART}
