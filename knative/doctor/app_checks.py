"""Checks of what an app needs at its site: settings, admission, container images, Broker, dead letters.

Source: Knative Eventing, config/core/configmaps/default-broker.yaml and default-broker-channel.yaml,
pkg/apis/config/defaults.go (precedence of namespaces), config/channels/in-memory-channel/README.md (no persistence),
pkg/channel/fanout/fanout_event_handler.go (handlers wait for the delivery), pkg/reconciler/broker/trigger/trigger.go (a
Trigger without a dead letter sink takes its Broker's).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import yaml

from eaves.errors import AbsentError, ConflictError, DeniedError, InvalidError, OciError
from eaves.platform.findings import Finding, error, note, ok, warning
from knative.client.kinds import BROKER, NAMESPACE, POD
from knative.doctor.cluster_checks import architecture_of
from knative.doctor.site import EVENTING_NAMESPACE, ExaminedSite
from knative.resources.eventing import CLASS
from knative.resources.metadata import MANAGER
from knative.status.pods import explain_pod
from knative.status.refusals import explain_denial

CHANNEL_BROKER = "MTChannelBasedBroker"
DURABLE = frozenset({"Kafka", "KafkaNamespaced", "RabbitMQBroker", "KafkaChannel"})
"""Classes of Brokers, and kinds of channels, that keep events on disk."""
IN_MEMORY = "InMemoryChannel"
_PROMISE = (
    "an event that is sent once is delivered at most once. The Broker answers after every trigger has delivered "
    "or dead-lettered the event; agents keep an event and send it again until then"
)


def check_settings(subject: ExaminedSite) -> Iterator[Finding]:
    """Check whether eaves.yaml has every setting that a cluster needs."""
    for fault in subject.faults:
        yield error("settings", f"{fault.path}: {fault.message}", f"set {fault.path} in {fault.origin}")
    if not subject.faults:
        yield ok("settings", f"eaves.yaml has every setting that {subject.app.site.name or 'the site'} needs")


def check_admission(subject: ExaminedSite) -> Iterator[Finding]:
    """Let the API server and its webhooks validate every object of the app, as a dry run that changes nothing.

    It finds a missing namespace, missing feature flags of Knative, refusals by policies, and webhooks that don't run.
    """
    made = {str(one["metadata"]["name"]) for one in subject.manifests if one["kind"] == NAMESPACE.kind}
    found: dict[str, Finding] = {}
    for one in subject.manifests:
        try:
            subject.cluster.apply(one, manager=MANAGER, force=True, dry_run=True)
        except DeniedError as denied:  # a user without rights to namespaces still deploys into those that exist
            found.setdefault(denied.message, note("admission", denied.message, denied.hint or ""))
        except (AbsentError, ConflictError, InvalidError) as refused:
            if isinstance(refused, AbsentError) and one["metadata"].get("namespace") in made:
                continue
            known = explain_denial(refused.message, str(one["metadata"].get("namespace") or subject.namespace))
            message = known.message if known else refused.message
            fix = known.fix if known else refused.hint or "eaves diff --on knative"
            found.setdefault(message, error("admission", message, fix))
    yield from found.values()
    if subject.manifests and not found:
        yield ok("admission", f"{subject.namespace} accepts every object of the app, as a dry run shows")


def check_images(subject: ExaminedSite) -> Iterator[Finding]:
    """Check the container images of the app: that the registry has them for every node, and what nodes reported.

    Nodes pull from their own network. So only a node's own report shows whether it reaches the registry.
    """
    if not subject.app.image:
        yield note(
            "images",
            "eaves.yaml names no container image yet, so it can't be checked",
            "eaves package ARTIFACT -t REFERENCE --base BASE, then set knative.image in eaves.yaml to the printed name",
        )
    wanted = {architecture_of(node) for node in subject.edge}
    named = {str(one.get("image", "")) for _, spec in subject.pods() for one in spec["containers"]}
    if subject.platforms is not None and subject.app.image:
        for image in sorted(named):
            yield _check_platforms(image, wanted, subject.platforms)
    for pod in subject.cluster.list(POD, namespace=subject.namespace):
        reported = explain_pod(pod)
        if reported is not None and reported.cause == "image":
            yield warning("images", f"in {subject.namespace}, {reported.message}", reported.fix)


def _check_platforms(image: str, wanted: set[str], platforms: Callable[[str], set[str]]) -> Finding:
    try:
        lacking = sorted(wanted - platforms(image))
    except OciError as failed:
        return note("images", f"{image} can't be checked from this machine: {failed.message}", failed.hint or "")
    if not lacking:
        return ok("images", f"the registry has {image} for every node ({', '.join(sorted(wanted))})")
    build = " ".join(f"--platform linux/{one}" for one in sorted(wanted))
    return error(
        "images",
        f"{image} is not built for {', '.join(lacking)}, the processor architecture of some nodes",
        f"eaves package ARTIFACT -t REFERENCE --base BASE {build}; for an agent the Dockerfile with --platform",
    )


def check_broker(subject: ExaminedSite) -> Iterator[Finding]:
    """Check the existing or future Broker: its class, and whether it keeps events on disk."""
    name = subject.settings.broker
    broker = subject.cluster.get(BROKER, name, namespace=subject.namespace)
    if broker is None and not subject.settings.create_broker:
        yield error(
            "broker",
            f"the Broker {name} does not exist in {subject.namespace}, and knative.create_broker is off",
            "set knative.create_broker in eaves.yaml to yes, or knative.broker to an existing Broker: kubectl -n "
            f"{subject.namespace} get brokers",
        )
        return
    text = subject.config("config-br-defaults", EVENTING_NAMESPACE).get("default-br-config", "")
    defaults = _parse(text)
    default = (defaults.get("namespaceDefaults") or {}).get(subject.namespace) or defaults.get("clusterDefault") or {}
    annotations = (broker or {"metadata": {}})["metadata"].get("annotations") or {}
    chosen = str(annotations.get(CLASS) or subject.settings.broker_class or default.get("brokerClass", ""))
    config = (broker or {}).get("spec", {}).get("config") or default
    kind = _channel_kind(subject, config) if chosen == CHANNEL_BROKER else chosen
    what = f"the Broker {name} ({chosen or 'without a class'})"
    if not chosen:
        yield error(
            "broker",
            "no broker class is set, and the cluster has no default",
            "set knative.broker_class in eaves.yaml, for example to Kafka",
        )
    elif kind in DURABLE:
        yield ok("broker", f"{what} keeps events on disk")
    elif kind == IN_MEMORY:
        yield warning(
            "broker",
            f"{what} keeps events only in memory ({IN_MEMORY}): {_PROMISE}",
            "install the Knative Broker for Apache Kafka and set knative.broker_class in eaves.yaml to Kafka; an "
            "existing Broker must be removed first",
        )
    else:
        yield note("broker", f"Eaves does not know {kind or 'the channel'}, so whether {what} keeps events is unknown")


def _channel_kind(subject: ExaminedSite, config: Mapping[str, Any]) -> str:
    """Return the kind of a channel-based Broker's channel; empty when its ConfigMap names none."""
    name, namespace = str(config.get("name", "config-br-default-channel")), str(config.get("namespace", ""))
    values = subject.config(name, namespace or EVENTING_NAMESPACE)
    template = values.get("channel-template-spec") or values.get("channelTemplateSpec", "")
    return str(_parse(template).get("kind", ""))


def _parse(text: str) -> Mapping[str, Any]:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    return value if isinstance(value, dict) else {}


def check_triggers(subject: ExaminedSite) -> Iterator[Finding]:
    """Check whether each trigger has a dead letter sink, which gets the events that can't be delivered."""
    settings, relay = subject.settings, subject.app.relay
    broker = subject.cluster.get(BROKER, settings.broker, namespace=subject.namespace) or {}
    if settings.dead_letter_sink or (broker.get("spec", {}).get("delivery") or {}).get("deadLetterSink"):
        yield ok("triggers", "every trigger has a dead letter sink")
        return
    for trigger in subject.app.triggers:
        if not relay.to and not trigger.delivery.dead_letter_sink:
            yield warning(
                "triggers",
                f"the trigger {trigger.name} has no dead letter sink: an event that is not delivered in "
                f"{trigger.delivery.retry + 1} attempts is dropped without a record, or, if the Broker waits for the "
                "delivery, sent again by its agent without end",
                "set knative.dead_letter_sink in eaves.yaml to an http(s) address",
            )
