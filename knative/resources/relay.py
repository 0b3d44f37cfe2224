"""Builders of the relay of an app at a site: a StatefulSet with a queue on a volume, behind a Service.

Agents that call the function send its predictions to the relay, which passes a copy to the Broker. For events that go
through the Broker, one Trigger sends the function's replies to the relay, and every Trigger sends its dead letters
there. The relay answers once an event is in its queue.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from eaves.events import source_uri
from eaves.link.settings import FROM_BROKER, RelaySettings
from eaves.platform import RELAY, DeliverySettings, SourceSpec
from eaves.platform.app import ALL, EDGE
from knative.client.kinds import BROKER, SERVICE, STATEFUL_SET, TRIGGER
from knative.resources.eventing import build_delivery, duration, relay_name
from knative.resources.metadata import (
    APP_LABEL,
    EVENTING_NAMESPACE,
    NAMESPACE_LABEL,
    PART_LABEL,
    build_namespace_peer,
    reference,
)
from knative.resources.pod import (
    CREDENTIALS_FOLDER,
    build_credentials,
    common_fragment,
)
from knative.resources.server import METRICS_PORT, build_queue_values, build_server_pod, metrics_peers, mount_spool
from knative.resources.workload import build_app_part
from knative.settings import ClusterApp

PART = RELAY
CONTAINER = "relay"
EVENTS_PORT = 8080
AGENTS = "source"
"""Value of PART_LABEL on the pods of agents, which may send events to the relay."""
MEMORY = "512Mi"
"""Memory limit of a relay's pod. An image of 20 MB takes several times its size in memory while it is stored, packed
and sent."""
RETRY = {"retry": 600, "backoffPolicy": "linear", "backoffDelay": duration(1)}
"""Fields of a Trigger's delivery to the relay: retries after pauses of 1 s, 2 s, ..., 600 s, for 50 hours.

With pauses that double, they would grow to days, and a relay that is available again would wait for its events as long.
Source: knative/eventing, pkg/kncloudevents/retries.go: neither `retry` nor a pause has an upper bound."""


def build_relay(app: ClusterApp) -> Iterator[dict[str, Any]]:
    """Build every object of an app's relay; there are none when it has no relay.

    The SinkBinding comes before the workload that it binds. So the workload starts only once, with the address of its
    Broker.
    """
    if not app.relay.enabled:
        return
    relay = build_app_part(app, relay_name(app), PART)
    if app.knative.network_policy:
        events = [build_namespace_peer(EVENTING_NAMESPACE), *_agents(app)]
        yield relay.build_policy((EVENTS_PORT, events), (METRICS_PORT, metrics_peers(app.knative.metrics_namespaces)))
    yield relay.build_service(("http", 80, "events"))
    yield relay.build_sink_binding(STATEFUL_SET, reference(BROKER, app.knative.broker, app.site.namespace))
    yield relay.build_stateful_set(_pod(app), {"spool": app.relay.spool_size})


def build_relay_triggers(app: ClusterApp) -> Iterator[dict[str, Any]]:
    """Build the Triggers that send the function's replies (and images, if all are forwarded) from Broker to relay.

    Events that an agent sends to the relay directly are left out.
    """
    if not app.relay.enabled:
        return
    function, place = app.name, app.function.site
    filters: list[dict[str, Any]] = [{"exact": {"source": source_uri(place, function)}}]
    filters += [
        {"not": {"exact": {"causesource": source_uri(place, source.name)}}}
        for source in app.sources
        if sends_to_relay(app, source)
    ]
    yield _trigger(app, relay_name(app), filters)
    through_broker = [source.name for source in app.sources if source.through == "broker"]
    if app.relay.images == ALL and through_broker:
        images = [{"exact": {"source": source_uri(place, name)}} for name in through_broker]
        yield _trigger(app, f"{relay_name(app)}-images", [{"any": images}])


def sends_to_relay(app: ClusterApp, source: SourceSpec) -> bool:
    """Return whether the agent of a source sends its predictions directly to the relay."""
    return app.relay.enabled and app.through == EDGE and source.through == "function"


def relay_reference(app: ClusterApp) -> dict[str, str]:
    """Build the reference to the relay's Service, for use as the sink of an agent."""
    return reference(SERVICE, relay_name(app), app.site.namespace)


def _trigger(app: ClusterApp, name: str, filters: list[dict[str, Any]]) -> dict[str, Any]:
    """Build a Trigger that sends the events that match the filters to the relay.

    Its dead letters are not sent to the relay, which has just refused them.
    """
    spec = {
        "broker": app.knative.broker,
        "filters": filters,
        "subscriber": {"ref": relay_reference(app), "uri": FROM_BROKER},
        "delivery": {**build_delivery(DeliverySettings(), app.knative.sink_of_all()), **RETRY},
    }
    return build_app_part(app, name, "trigger").build(TRIGGER, spec)


def _agents(app: ClusterApp) -> list[dict[str, Any]]:
    """Return the peers that are agents of the app, in its namespace and on nodes."""
    labels = {APP_LABEL: app.name, PART_LABEL: AGENTS}
    home = {NAMESPACE_LABEL: app.site.namespace} if app.site.namespace else {}
    return [
        {"podSelector": {"matchLabels": labels}},
        {**build_namespace_peer(app.knative.agent_namespace), "podSelector": {"matchLabels": {**labels, **home}}},
    ]


def _pod(app: ClusterApp) -> dict[str, Any]:
    values = {
        "site": app.function.site,
        **app.relay.settings,
        "credentials": CREDENTIALS_FOLDER,
        "has_broker": "true",
        **build_queue_values("relay", EVENTS_PORT),
    }
    return build_server_pod(
        "eaves.link.relay",
        app.knative.agent_image,
        RelaySettings,
        values,
        ports={"events": EVENTS_PORT, "metrics": METRICS_PORT},
        memory=MEMORY,
        fragment=common_fragment(app.pod),
        folders=[mount_spool(), build_credentials(app.relay.secret)],
        serviceAccountName=app.name,
    )
