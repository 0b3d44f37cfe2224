"""Builders of eventing: Broker, Triggers, EventTypes, and an app's own servers: its relay, and publishers to MQTT.

Each server is a StatefulSet with a queue on a volume, behind a Service; it answers once an event is in its queue.

Agents that call the function send its predictions to the relay, which passes a copy to the Broker. For events that go
through the Broker, one Trigger sends the function's replies to the relay, and every Trigger sends its dead letters
there. Knative delivers by HTTP only, so a trigger to MQTT has a publisher as its subscriber.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from eaves.config import iter_leaves
from eaves.delivery.sinks import MqttTriggerSettings
from eaves.event_schemas import SCHEMAS, schema_uri
from eaves.events import IMAGE_CLASSIFIED, IMAGE_INSPECTED, MODEL_SHIFTED, Event, encode_binary, source_uri
from eaves.link.settings import FROM_BROKER, PublisherSettings, RelaySettings
from eaves.platform import RELAY, DeliverySettings, SourceSpec, TriggerSpec, find_dead_letter_target
from eaves.platform.app import ALL, EDGE
from eaves.platform.quantities import find_room
from eaves.platform.triggers import rewrite_matches
from knative.client.kinds import BROKER, EVENT_TYPE, KSERVICE, SERVICE, STATEFUL_SET, TRIGGER, Manifest, Object
from knative.resources.federation import PART as FEDERATION_PART
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
from knative.resources.workload import (
    METRICS_PORT,
    Workload,
    build_app_part,
    build_queue_values,
    build_server_pod,
    metrics_peers,
    mount_spool,
)
from knative.settings import ClusterApp

CLASS = "eventing.knative.dev/broker.class"
SCHEMA_ANNOTATION = "eaves.dev/schema"


def build_broker(app: ClusterApp) -> Manifest:
    """Build the Broker for an app's events; several apps of a namespace share it."""
    chosen = {CLASS: app.knative.broker_class} if app.knative.broker_class else None
    broker = build_app_part(app, app.knative.broker, "broker").build(BROKER, {}, annotations=chosen)
    del broker["metadata"]["labels"][APP_LABEL]
    return broker


def build_triggers(app: ClusterApp) -> Iterator[Manifest]:
    """Build a Trigger for each trigger of an app."""
    for trigger in app.triggers:
        spec = {"broker": app.knative.broker, **build_filters(trigger), "subscriber": _subscriber(app, trigger)}
        delivery = build_delivery(trigger.delivery, _dead_letter_sink(app, trigger))
        part = build_app_part(app, trigger_name(app, trigger), "trigger")
        yield part.build(TRIGGER, {**spec, "delivery": delivery})


def _dead_letter_sink(app: ClusterApp, trigger: TriggerSpec) -> Manifest | None:
    """Return the dead letter sink of a trigger: its own sink, the sink for all triggers, or the relay."""
    if target := find_dead_letter_target(trigger, app.triggers):
        return _subscriber(app, target)
    if app.relay.enabled and not app.knative.dead_letter_sink:
        return {"ref": reference(SERVICE, relay_name(app), app.site.namespace)}
    return app.knative.sink_of_all()


def _subscriber(app: ClusterApp, trigger: TriggerSpec) -> Manifest:
    if trigger.needs_publisher:
        return {"ref": reference(SERVICE, publisher_name(app, trigger), app.site.namespace)}
    if trigger.url:
        return {"uri": trigger.url}
    return {"ref": reference(KSERVICE, trigger.function or app.name, app.site.namespace)}


def trigger_name(app: ClusterApp, trigger: TriggerSpec) -> str:
    """Return the name of the Knative Trigger for a trigger, which is unique among the apps of the namespace."""
    name = app.name
    return name if trigger.name == name else f"{name}-{trigger.name}"


def publisher_name(app: ClusterApp, trigger: TriggerSpec) -> str:
    """Return the name of the Service and the StatefulSet that publish a trigger's events to MQTT."""
    return f"{trigger_name(app, trigger)}-mqtt"


def relay_name(app: ClusterApp) -> str:
    """Return the name of the objects of an app's relay."""
    return f"{app.name}-{RELAY}"


def build_delivery(delivery: DeliverySettings, dead_letter_sink: Object | None) -> Manifest:
    """Build the `delivery` of a Trigger: retries, time limits, and the dead letter sink.

    Knative doubles the pause after each attempt and has no upper bound for it: `backoff_cap_s` has no effect here.

    Source: knative/specs, specs/eventing/control-plane.md, delivery spec; durations are ISO 8601.
    """
    built: Manifest = {
        "retry": delivery.retry,
        "backoffPolicy": "exponential",
        "backoffDelay": duration(delivery.backoff_s),
        "timeout": duration(delivery.timeout_s),
    }
    return {**built, "deadLetterSink": dead_letter_sink} if dead_letter_sink else built


def duration(seconds: float) -> str:
    """Format seconds as an ISO 8601 duration."""
    return f"PT{seconds:g}S"


def build_event_types(app: ClusterApp) -> Iterator[Manifest]:
    """Build an EventType for each type that the app sends: captures of its sources, and replies of its function."""
    function = app.function
    emitted = [(function.captured, source.name, source.name) for source in app.sources]
    emitted.append((function.replied, function.name, ""))
    if function.replied in (IMAGE_CLASSIFIED, IMAGE_INSPECTED):
        emitted.append((MODEL_SHIFTED, function.name, ""))
    for event_type, emitter, name in emitted:
        schema = SCHEMAS.get(event_type)
        values = {"type": event_type, "source": source_uri(function.site, emitter), "specversion": "1.0"}
        attributes: list[Object] = [{"name": key, "required": True, "value": value} for key, value in values.items()]
        if schema is not None:
            attributes.append({"name": "dataschema", "required": False, "value": schema_uri(event_type)})
        annotations = {SCHEMA_ANNOTATION: json.dumps(schema, separators=(",", ":"))} if schema is not None else None
        part = "-".join(piece for piece in (function.name, name) if piece)
        about = {"reference": reference(BROKER, app.knative.broker), "attributes": attributes}
        described = build_app_part(app, f"{part}-{event_type.split('.')[-2]}", "event-type")
        yield described.build(EVENT_TYPE, about, annotations=annotations)


def build_filters(trigger: TriggerSpec) -> Manifest:
    """Build the filter fields of a Trigger's spec; there are none for a trigger that gets every event."""
    if trigger.filters:
        return {"filters": rewrite_matches(trigger.filters, _compare)}
    if all(_encoded(value) == value for value in trigger.filter.values()):
        return {"filter": {"attributes": dict(trigger.filter)}} if trigger.filter else {}
    # in the field `filter` an empty value means any value; in the newer field `filters` it doesn't
    return {
        "filters": [
            _compare("exact", name, value) if value else {"cesql": f"EXISTS {name}"}
            for name, value in trigger.filter.items()
        ]
    }


def _compare(dialect: str, name: str, value: str) -> Object:
    forms = dict.fromkeys((value, _encoded(value)))
    compared: list[Object] = [{dialect: {name: form}} for form in forms]
    return compared[0] if len(compared) == 1 else {"any": compared}


def _encoded(value: str) -> str:
    """Percent-encode an attribute's value as it is in an HTTP header."""
    headers, _ = encode_binary(Event(id="1", source="/", type="t", extensions={"value": value}))
    return headers["ce-value"]


RELAY_PART, PUBLISHER_PART = RELAY, "publisher"
"""Values of PART_LABEL, and names of the containers."""
TRIGGER_LABEL = "eaves.dev/trigger"
EVENTS_PORT = 8080
AGENTS = "source"
"""Value of PART_LABEL on the pods of agents, which may send events to the relay."""
MEMORY = "512Mi"
"""Memory limit of a server's pod. An image of 20 MB takes several times its size in memory while it is stored, packed
and sent; measured: 372 MB with events of 20 MB, four of which are published at the same time."""
RETRY = {"retry": 600, "backoffPolicy": "linear", "backoffDelay": duration(1)}
"""Fields of a Trigger's delivery to the relay: retries after pauses of 1 s, 2 s, ..., 600 s, for 50 hours.

With pauses that double, they would grow to days, and a relay that is available again would wait for its events as long.
Source: knative/eventing, pkg/kncloudevents/retries.go: neither `retry` nor a pause has an upper bound."""


def build_servers(app: ClusterApp) -> Iterator[Manifest]:
    """Build every object of an app's relay, if it has one, and of its publishers.

    They admit events only from Eventing's dispatchers, which apply the Triggers' filters; the relay admits agents and
    `eaves federate` too. A SinkBinding comes before the workload that it binds. So the workload starts only once, with
    the address of its Broker.
    """
    eventing = build_namespace_peer(EVENTING_NAMESPACE)
    for trigger in app.triggers:
        if trigger.needs_publisher:
            own = {TRIGGER_LABEL: trigger.name}
            publisher = build_app_part(app, publisher_name(app, trigger), PUBLISHER_PART, own=own)
            yield from _build_entrance(app, publisher, eventing)
            yield publisher.build_stateful_set(_build_publisher_pod(app, trigger), {"spool": trigger.mqtt.spool_size})
    if app.relay.enabled:
        relay = build_app_part(app, relay_name(app), RELAY_PART)
        federation = {"podSelector": {"matchLabels": {PART_LABEL: FEDERATION_PART}}}
        yield from _build_entrance(app, relay, eventing, federation, *_agents(app))
        yield relay.build_sink_binding(STATEFUL_SET, reference(BROKER, app.knative.broker, app.site.namespace))
        yield relay.build_stateful_set(_build_relay_pod(app), {"spool": app.relay.spool_size})


def _build_entrance(app: ClusterApp, server: Workload, *senders: Manifest) -> Iterator[Manifest]:
    """Build the NetworkPolicy, which admits events of the senders, and the Service of a server."""
    if app.knative.network_policy:
        readers = metrics_peers(app.knative.metrics_namespaces)
        yield server.build_policy((EVENTS_PORT, senders), (METRICS_PORT, readers))
    yield server.build_service(("http", 80, "events"))


def build_relay_triggers(app: ClusterApp) -> Iterator[Manifest]:
    """Build the Triggers that send the function's replies (and images, if all are forwarded) from Broker to relay.

    Events that an agent sends to the relay directly are left out.
    """
    if not app.relay.enabled:
        return
    function, place = app.name, app.function.site
    filters: list[Manifest] = [{"exact": {"source": source_uri(place, function)}}]
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


def _trigger(app: ClusterApp, name: str, filters: list[Manifest]) -> Manifest:
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


def _agents(app: ClusterApp) -> list[Manifest]:
    """Return the peers that are agents of the app, in its namespace and on nodes."""
    labels = {APP_LABEL: app.name, PART_LABEL: AGENTS}
    home = {NAMESPACE_LABEL: app.site.namespace} if app.site.namespace else {}
    return [
        {"podSelector": {"matchLabels": labels}},
        {**build_namespace_peer(app.knative.agent_namespace), "podSelector": {"matchLabels": {**labels, **home}}},
    ]


def _build_relay_pod(app: ClusterApp) -> Manifest:
    values = {"site": app.function.site, **app.relay.settings, "credentials": CREDENTIALS_FOLDER, "has_broker": "true"}
    values |= build_queue_values(RELAY_PART, EVENTS_PORT)
    return _build_pod(app, "eaves.link.relay", RelaySettings, values, app.relay.secret)


def _build_publisher_pod(app: ClusterApp, trigger: TriggerSpec) -> Manifest:
    """Build the pod of a publisher; of its section `mqtt` it gets only the values that differ from the defaults."""
    values = {"app": app.name, "site": app.function.site, "url": trigger.url}
    values |= find_room(trigger.mqtt.spool_size) | build_queue_values(PUBLISHER_PART, EVENTS_PORT)
    for leaf in iter_leaves(MqttTriggerSettings):
        value = getattr(trigger.mqtt, leaf.path)
        if leaf.path != "credentials" and value != leaf.default:
            values[f"mqtt.{leaf.path}"] = str(value).lower() if isinstance(value, bool) else str(value)
    if trigger.mqtt.secret:
        values["mqtt.credentials"] = CREDENTIALS_FOLDER
    return _build_pod(app, "eaves.link.publisher", PublisherSettings, values, trigger.mqtt.secret)


def _build_pod(app: ClusterApp, module: str, settings: type, values: dict[str, str], secret: str) -> Manifest:
    return build_server_pod(
        module,
        app.knative.agent_image,
        settings,
        values,
        ports={"events": EVENTS_PORT, "metrics": METRICS_PORT},
        memory=MEMORY,
        fragment=common_fragment(app.pod),
        folders=[mount_spool(), *([build_credentials(secret)] if secret else [])],
        serviceAccountName=app.name,
    )
