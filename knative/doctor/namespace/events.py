"""Checks of event delivery: the Broker and its storage, Triggers and their dead letters, and the agents' sinks.

Source: Knative Eventing, config/core/configmaps/default-broker.yaml and default-broker-channel.yaml,
pkg/apis/config/defaults.go (precedence of namespaces), config/channels/in-memory-channel/README.md (no persistence),
pkg/reconciler/broker/trigger/trigger.go (a Trigger without a dead letter sink takes its Broker's), cmd/webhook/main.go
(which namespaces a SinkBinding sees).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from knative.client.kinds import BROKER, NAMESPACE
from knative.diagnosis.evidence import condition
from knative.doctor.context import EVENTING_NAMESPACE, ExaminedSite
from knative.doctor.finding import DoctorFinding, error, note, ok, warning
from knative.resources.eventing import CLASS, relay_name
from knative.resources.relay import PATIENCE_S, sends_to_relay

CHANNEL_BROKER = "MTChannelBasedBroker"
DURABLE = frozenset({"Kafka", "KafkaNamespaced", "RabbitMQBroker"})
IN_MEMORY = "InMemoryChannel"
_PROMISE = (
    "an event that is sent once is delivered at most once. The Broker answers after every trigger has delivered "
    "or dead-lettered the event; agents keep an event and send it again until then"
)
"""Text of `doctor` about delivery by a Broker that answers a sender only after each event is delivered.

Source: Knative Eventing, pkg/channel/fanout/fanout_event_handler.go: handlers wait, unless the annotation
`messaging.knative.dev/async-handler` is set.
"""
ASYNC = "messaging.knative.dev/async-handler"
_ASYNC_PROMISE = (
    f"an event is delivered at most once, because its annotation {ASYNC} makes it answer before the delivery"
)


def check_broker(subject: ExaminedSite) -> Iterator[DoctorFinding]:
    """Check the existing or future Broker: its Broker class, its state, and whether it stores events on disk."""
    settings, name = subject.settings, subject.settings.broker
    broker = subject.cluster.get(BROKER, name, namespace=subject.namespace)
    if broker is None and not settings.create_broker:
        yield error(
            "broker",
            f"the Broker {name} does not exist in {subject.namespace}, and knative.create_broker is off",
            "set knative.create_broker in eaves.yaml to yes, or knative.broker to an existing Broker: kubectl -n "
            f"{subject.namespace} get brokers",
        )
        return
    if broker is not None:
        yield from _check_existing(subject, broker)
    chosen, config = _class_and_config(subject, broker)
    what = f"the Broker {name} ({chosen or 'without a class'})"
    if not chosen:
        yield error(
            "broker",
            "no broker class is set, and the cluster has no default",
            "set knative.broker_class in eaves.yaml, for example to Kafka",
        )
    elif chosen in DURABLE:
        yield ok("broker", f"{what} keeps events on disk")
    elif chosen == CHANNEL_BROKER:
        yield from _check_channel(subject, what, config, _ASYNC_PROMISE if _answers_early(broker) else _PROMISE)
    else:
        yield note(
            "broker", f"{what} has a class that Eaves does not know, so Eaves can't check whether it stores events"
        )


def _check_existing(subject: ExaminedSite, broker: Mapping[str, Any]) -> Iterator[DoctorFinding]:
    settings = subject.settings
    there = _class_of(broker)
    if settings.create_broker and settings.broker_class not in {"", there}:
        yield error(
            "broker",
            f"the Broker {settings.broker} has the class {there} instead of {settings.broker_class}, and the "
            "class of a Broker can't be changed",
            f"kubectl -n {subject.namespace} delete broker {settings.broker}   # its undelivered events are lost; "
            f"or set knative.broker_class in eaves.yaml to {there}",
        )
    ready = condition(broker, "Ready")
    if ready.get("status") != "True":
        reason = ready.get("message") or ready.get("reason") or "no controller has processed it"
        yield warning(
            "broker",
            f"the Broker {settings.broker} is not ready: {reason}",
            f"kubectl -n {subject.namespace} describe broker {settings.broker}",
        )


def _answers_early(broker: Mapping[str, Any] | None) -> bool:
    annotations = (broker or {"metadata": {}})["metadata"].get("annotations") or {}
    return str(annotations.get(ASYNC, "")).lower() in {"1", "t", "true"}


def _check_channel(
    subject: ExaminedSite, what: str, config: Mapping[str, Any], promise: str
) -> Iterator[DoctorFinding]:
    """Check a channel-based Broker: whether its channel stores events on disk or only in memory."""
    name = str(config.get("name", "config-br-default-channel"))
    namespace = str(config.get("namespace", "")) or EVENTING_NAMESPACE
    template = subject.config(name, namespace).get("channel-template-spec") or subject.config(name, namespace).get(
        "channelTemplateSpec", ""
    )
    kind = str(_parse(template).get("kind", ""))
    if kind == IN_MEMORY:
        yield warning(
            "broker",
            f"{what} keeps events only in memory ({IN_MEMORY}): {promise}",
            "install the Knative Broker for Apache Kafka and set knative.broker_class in eaves.yaml to Kafka; an "
            "existing Broker must be removed first",
        )
    elif kind == "KafkaChannel":
        yield ok("broker", f"{what} keeps events on disk ({kind})")
    else:
        unknown = f"Eaves does not know {kind}" if kind else f"the ConfigMap {namespace}/{name} does not name its kind"
        yield note(
            "broker",
            f"whether {what} stores events depends on its channel: {unknown}",
        )


def _class_and_config(subject: ExaminedSite, broker: Mapping[str, Any] | None) -> tuple[str, Mapping[str, Any]]:
    """Return (Broker class of the Broker, reference to the ConfigMap that names the Broker's channel)."""
    defaults = _parse(subject.config("config-br-defaults", EVENTING_NAMESPACE).get("default-br-config", ""))
    own = (defaults.get("namespaceDefaults") or {}).get(subject.namespace) or {}
    whole = defaults.get("clusterDefault") or {}
    chosen = _class_of(broker) if broker is not None else subject.settings.broker_class
    chosen = chosen or str(own.get("brokerClass") or whole.get("brokerClass") or "")
    if broker is not None and (config := broker.get("spec", {}).get("config")):
        return chosen, config
    for default in (own, whole):
        if found := (default.get("brokerClasses") or {}).get(chosen):
            return chosen, found
        if default.get("brokerClass") == chosen and default.get("name"):
            return chosen, default
    return chosen, {}


def _class_of(broker: Mapping[str, Any]) -> str:
    return str((broker["metadata"].get("annotations") or {}).get(CLASS, ""))


def _parse(text: str) -> Mapping[str, Any]:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    return value if isinstance(value, dict) else {}


def check_triggers(subject: ExaminedSite) -> Iterator[DoctorFinding]:
    """Check whether each trigger has a dead letter sink, which gets the events that can't be delivered."""
    broker = subject.cluster.get(BROKER, subject.settings.broker, namespace=subject.namespace)
    if ((broker or {}).get("spec", {}).get("delivery") or {}).get("deadLetterSink"):
        yield ok("triggers", f"the Broker {subject.settings.broker} has a dead letter sink for all triggers")
        return
    every = subject.settings.dead_letter_sink or subject.app.relay.to
    bare = [trigger.name for trigger in subject.app.triggers if not (trigger.delivery.dead_letter_sink or every)]
    for name in bare:
        yield warning(
            "triggers",
            f"the trigger {name} has no dead letter sink: an event that is not delivered in "
            f"{_attempts(subject, name)} attempts is dropped without a record, or, if the Broker waits for the "
            "delivery, sent again by its agent without end",
            "set knative.dead_letter_sink in eaves.yaml to an http(s) address",
        )
    through_broker = [one.name for one in subject.app.sources if not sends_to_relay(subject.app, one)]
    if subject.app.relay.enabled and through_broker and not subject.settings.dead_letter_sink:
        yield warning(
            "triggers",
            f"the Trigger {relay_name(subject.app)} has no dead letter sink, because the relay can't be its own: "
            f"events that {', '.join(through_broker)} sent through the Broker are dropped if the relay is "
            f"unavailable or full for {PATIENCE_S / 3600:.0f} hours",
            "set knative.dead_letter_sink in eaves.yaml to an http(s) address, or let the agents send to the relay "
            "(`through: function`)",
        )
    elif not bare:
        yield ok("triggers", "every trigger has a dead letter sink")


def _attempts(subject: ExaminedSite, name: str) -> int:
    return next(trigger.delivery.retry + 1 for trigger in subject.app.triggers if trigger.name == name)


def check_binding(subject: ExaminedSite) -> Iterator[DoctorFinding]:
    """Check whether Eventing sets the sink of agents: its webhook handles only some namespaces."""
    bound = {namespace for kind, namespace in subject.kinds() if kind.kind == "SinkBinding"}
    if not bound:
        return
    inclusion = _selects_by_inclusion(subject)
    for name in sorted(bound):
        namespace = subject.cluster.get(NAMESPACE, name, namespace="") or {"metadata": {}}
        labels = namespace["metadata"].get("labels") or {}
        if inclusion and labels.get("bindings.knative.dev/include") != "true":
            fix = f"kubectl label namespace {name} bindings.knative.dev/include=true"
        elif not inclusion and labels.get("bindings.knative.dev/exclude") == "true":
            fix = f"kubectl label namespace {name} bindings.knative.dev/exclude-"
        else:
            continue
        yield error("agents", f"Eventing's SinkBindings ignore the namespace {name}, so agents there get no sink", fix)
        return
    yield ok("agents", f"agents in {', '.join(sorted(bound))} get their sink from Eventing's SinkBindings")


def _selects_by_inclusion(subject: ExaminedSite) -> bool:
    for one in subject.deployments(EVENTING_NAMESPACE):
        for container in one["spec"].get("template", {}).get("spec", {}).get("containers", ()):
            for variable in container.get("env") or ():
                if variable.get("name") == "SINK_BINDING_SELECTION_MODE":
                    return bool(variable.get("value") == "inclusion")
    return False
