"""Builders of the objects of eventing: the Broker, the Triggers, and the EventTypes that document event types."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from eaves.event_schemas import SCHEMAS, schema_uri
from eaves.events import Event, encode_binary
from eaves.platform import RELAY, DeliverySettings, TriggerSpec, find_dead_letter_target
from eaves.platform.triggers import rewrite_matches
from knative.client.kinds import BROKER, EVENT_TYPE, KSERVICE, SERVICE, TRIGGER
from knative.resources.metadata import APP_LABEL, reference
from knative.resources.workload import build_app_part
from knative.settings import ClusterApp

CLASS = "eventing.knative.dev/broker.class"
SCHEMA_ANNOTATION = "eaves.dev/schema"


def build_broker(app: ClusterApp) -> dict[str, Any]:
    """Build the Broker for an app's events; several apps of a namespace share it."""
    chosen = {CLASS: app.knative.broker_class} if app.knative.broker_class else None
    broker = build_app_part(app, app.knative.broker, "broker").build(BROKER, {}, annotations=chosen)
    del broker["metadata"]["labels"][APP_LABEL]
    return broker


def build_triggers(app: ClusterApp) -> Iterator[dict[str, Any]]:
    """Build a Trigger for each trigger of an app."""
    for trigger in app.triggers:
        spec = {"broker": app.knative.broker, **build_filters(trigger), "subscriber": _subscriber(app, trigger)}
        delivery = build_delivery(trigger.delivery, _dead_letter_sink(app, trigger))
        part = build_app_part(app, trigger_name(app, trigger), "trigger")
        yield part.build(TRIGGER, {**spec, "delivery": delivery})


def _dead_letter_sink(app: ClusterApp, trigger: TriggerSpec) -> dict[str, Any] | None:
    """Return the dead letter sink of a trigger: its own sink, the sink for all triggers, or the relay."""
    if target := find_dead_letter_target(trigger, app.triggers):
        return _subscriber(app, target)
    if app.relay.enabled and not app.knative.dead_letter_sink:
        return {"ref": reference(SERVICE, relay_name(app), app.site.namespace)}
    return app.knative.sink_of_all()


def _subscriber(app: ClusterApp, trigger: TriggerSpec) -> dict[str, Any]:
    if trigger.is_mqtt:
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


def build_delivery(delivery: DeliverySettings, dead_letter_sink: Mapping[str, Any] | None) -> dict[str, Any]:
    """Build the `delivery` of a Trigger: retries, time limits, and the dead letter sink.

    Knative doubles the pause after each attempt and has no upper bound for it: `backoff_cap_s` has no effect here.

    Source: knative/specs, specs/eventing/control-plane.md, delivery spec; durations are ISO 8601.
    """
    built: dict[str, Any] = {
        "retry": delivery.retry,
        "backoffPolicy": "exponential",
        "backoffDelay": duration(delivery.backoff_s),
        "timeout": duration(delivery.timeout_s),
    }
    return {**built, "deadLetterSink": dead_letter_sink} if dead_letter_sink else built


def duration(seconds: float) -> str:
    """Format seconds as an ISO 8601 duration."""
    return f"PT{seconds:g}S"


def build_event_types(app: ClusterApp) -> Iterator[dict[str, Any]]:
    """Build an EventType for each type that the app sends: captures of its sources, and replies of its function."""
    function = app.function
    emitted = [(function.captured, source.name, source.name) for source in app.sources]
    emitted.append((function.replied, function.name, ""))
    for event_type, emitter, name in emitted:
        schema = SCHEMAS.get(event_type)
        attributes = [
            {"name": "type", "required": True, "value": event_type},
            {"name": "source", "required": True, "value": f"/eaves/{function.site}/{emitter}"},
            {"name": "specversion", "required": True, "value": "1.0"},
        ]
        if schema is not None:
            attributes.append({"name": "dataschema", "required": False, "value": schema_uri(event_type)})
        annotations = {SCHEMA_ANNOTATION: json.dumps(schema, separators=(",", ":"))} if schema is not None else None
        part = "-".join(piece for piece in (function.name, name) if piece)
        about = {"reference": reference(BROKER, app.knative.broker), "attributes": attributes}
        described = build_app_part(app, f"{part}-{event_type.split('.')[-2]}", "event-type")
        yield described.build(EVENT_TYPE, about, annotations=annotations)


def build_filters(trigger: TriggerSpec) -> dict[str, Any]:
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


def _compare(dialect: str, name: str, value: str) -> Mapping[str, Any]:
    forms = dict.fromkeys((value, _encoded(value)))
    compared: list[Mapping[str, Any]] = [{dialect: {name: form}} for form in forms]
    return compared[0] if len(compared) == 1 else {"any": compared}


def _encoded(value: str) -> str:
    """Percent-encode an attribute's value as it is in an HTTP header."""
    headers, _ = encode_binary(Event(id="1", source="/", type="t", extensions={"value": value}))
    return headers["ce-value"]
