"""Checks of what an app needs at its site: settings, admission, container images, Broker, dead letters.

Source: Knative Eventing, config/core/configmaps/default-broker.yaml and default-broker-channel.yaml,
pkg/apis/config/defaults.go (precedence of namespaces), config/channels/in-memory-channel/README.md (no persistence),
pkg/channel/fanout/fanout_event_handler.go (handlers wait for the delivery), pkg/reconciler/broker/trigger/trigger.go (a
Trigger without a dead letter sink takes its Broker's).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import yaml

from eaves.errors import AbsentError, ConflictError, DeniedError, InvalidError, OciError
from eaves.platform.findings import Finding, error, note, ok, warning
from knative.client.kinds import (
    BROKER,
    CONFIG_MAP,
    EVENT,
    JOB,
    NAMESPACE,
    POD,
    POD_AUTOSCALER,
    REVISION,
    SERVICE,
    SUBSCRIPTION,
    Object,
    ObjectKind,
    spec_of,
)
from knative.deploy.ownership import AT_HOME
from knative.doctor.cluster_checks import EVENTING_NAMESPACE, GATEWAYS, ExaminedSite, architecture_of
from knative.resources.agent import NODE, find_runner
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


def _channel_kind(subject: ExaminedSite, config: Object) -> str:
    """Return the kind of a channel-based Broker's channel; empty when its ConfigMap names none."""
    name, namespace = str(config.get("name", "config-br-default-channel")), str(config.get("namespace", ""))
    values = subject.config(name, namespace or EVENTING_NAMESPACE)
    template = values.get("channel-template-spec") or values.get("channelTemplateSpec", "")
    return str(_parse(template).get("kind", ""))


def _parse(text: str) -> Object:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    return value if isinstance(value, dict) else {}


def check_triggers(subject: ExaminedSite) -> Iterator[Finding]:
    """Check whether each trigger has a dead letter sink, which gets the events that can't be delivered."""
    settings, relay = subject.settings, subject.app.relay
    broker = subject.cluster.get(BROKER, settings.broker, namespace=subject.namespace) or {}
    if settings.dead_letter_sink or (spec_of(broker).get("delivery") or {}).get("deadLetterSink"):
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


APPLY = ("get", "list", "create", "patch", "delete")
"""RBAC verbs that are needed to apply and delete objects. Server-side apply is a PATCH; for a new object it also needs
`create`."""
CONNECT = ("get", "create")
"""Verbs for `pods/exec` and `pods/portforward`: a WebSocket is opened by GET; servers from 1.35 on also require
`create`."""


class NeededPermission(NamedTuple):
    """A permission that a command needs on the cluster.

    Attributes:
        command: Command of Eaves that needs the permission.
        kind: Kind of the objects.
        verbs: Verbs on the objects.
        namespace: Namespace of the objects; empty for the whole cluster.
        subresource: Subresource of the objects; empty for the objects themselves.
        name: Name of the one object; empty for all objects.
        hard: Whether the command fails completely without the permission.
    """

    command: str
    kind: ObjectKind
    verbs: Sequence[str]
    namespace: str
    subresource: str = ""
    name: str = ""
    hard: bool = False

    @property
    def resource(self) -> str:
        """Name of the resource for kubectl."""
        return self.kind.resource + (f"/{self.subresource}" if self.subresource else "")


def list_needed(subject: ExaminedSite) -> Iterator[NeededPermission]:
    """Yield every permission for deploying, rolling out, sending events to, removing and training the app.

    `eaves train` copies a run from a volume by a pod, which it deletes afterwards.
    """
    here, need = subject.namespace, NeededPermission
    kinds = list(subject.kinds())
    for kind, namespace in (*kinds, (CONFIG_MAP, here)):  # the ConfigMap: the app's inventory
        # `remove` keeps the agents' namespace
        command, verbs = ("deploy, remove", APPLY) if kind.namespaced else ("deploy", ("get", "create", "patch"))
        yield need(command, kind, verbs, namespace, hard=True)
    for kind in AT_HOME:  # an earlier deploy may have left objects; who may not list Services has none
        if (kind, here) not in kinds and kind is not SERVICE:
            yield need("deploy, remove", kind, ("list",), here, hard=True)
    yield need("deploy", REVISION, ("delete",), here)  # one that was given up
    if subject.app.triggers:  # removed settings of a trigger's delivery are removed from its Subscription
        yield need("deploy", SUBSCRIPTION, ("list", "patch"), here)
    for kind in (REVISION, POD, POD_AUTOSCALER):
        yield need("status, rollout", kind, ("get", "list"), here, hard=True)
    yield need("deploy --wait", EVENT, ("list",), here)
    yield need("logs", POD, ("get",), here, "log")
    yield need("status, rollout", POD, CONNECT, here, "portforward")
    runners = {find_runner(source) for source in subject.app.sources}
    if runners - {NODE} or any(trigger.needs_publisher for trigger in subject.app.triggers):
        yield need("queue", POD, CONNECT, here, "exec")
    if NODE in runners:
        agents = subject.settings.agent_namespace
        yield need("status, rollout, queue", POD, ("get", "list"), agents)
        yield need("status, rollout", POD, CONNECT, agents, "portforward")
        yield need("queue", POD, CONNECT, agents, "exec")
    if where := subject.trains_in:
        yield need("train", JOB, APPLY, where)
        yield need("train", POD, APPLY, where)
        yield need("train", POD, ("get",), where, "log")
        yield need("train", POD, CONNECT, where, "exec")
    gateway = subject.settings.gateway_namespace
    service = next((f"{service}:80" for namespace, service in GATEWAYS.values() if namespace == gateway), "")
    yield need("send", SERVICE, ("create",), gateway, "proxy", service)


def check_permissions(subject: ExaminedSite) -> Iterator[Finding]:
    """Report the denied permissions, each group with the command that grants them."""
    missing: dict[tuple[str, str, str, bool, tuple[str, ...]], list[str]] = {}
    for need in list_needed(subject):
        may = partial(
            subject.cluster.allowed,
            kind=need.kind,
            subresource=need.subresource,
            namespace=need.namespace,
            name=need.name,
        )
        # The API server is first asked about all verbs together, since an administrator has them all.
        verbs = () if len(need.verbs) > 1 and may("*") else tuple(verb for verb in need.verbs if not may(verb))
        if verbs:
            missing.setdefault((need.command, need.namespace, need.name, need.hard, verbs), []).append(need.resource)
    if not missing:
        yield ok(
            "permissions",
            "the current user has the permissions to deploy, roll out, send to and remove "
            f"functions in {subject.namespace}",
        )
    for (command, namespace, name, hard, verbs), resources in missing.items():
        where = f"in {namespace}" if namespace else "in the whole cluster"
        parts = {resource.partition("/")[2] for resource in resources}
        role = "-".join(["eaves", command.partition(",")[0].replace(" --", "-"), *sorted(filter(None, parts))])
        kind, scope = ("role", f"-n {namespace} ") if namespace else ("clusterrole", "")
        only = f" --resource-name={name}" if name else ""
        yield (error if hard else warning)(
            "permissions",
            f"the current user may not {', '.join(verbs)} {', '.join(resources)} {where} (needed by eaves {command})",
            f"kubectl {scope}create {kind} {role} --verb={','.join(verbs)} --resource={','.join(resources)}{only} && "
            f"kubectl {scope}create {kind}binding {role} --{kind}={role} --user=USER",
        )
