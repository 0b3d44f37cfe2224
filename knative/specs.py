"""Specs of an app on a cluster: the specs of every platform (`eaves.platform`), with the settings for a cluster.

In eaves.yaml the settings of both kinds are in the same sections, so the sections are parsed into the dataclasses of
this module.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

from eaves.base.names import SUBDOMAIN_PATTERN
from eaves.config import setting
from eaves.delivery.mqtt.settings import MqttTriggerSettings
from eaves.platform import (
    QUANTITY_PATTERN,
    AppSpec,
    FunctionSpec,
    RelaySpec,
    SourceSpec,
    TriggerSpec,
    default_trigger,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterFunction(FunctionSpec):
    """A function on a cluster.

    Attributes:
        image: Container image that holds the artifact, `REPOSITORY@sha256:...`; empty when none is named, which `eaves
            doctor` accepts and rendering refuses.
    """

    image: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSource(SourceSpec):
    """A source on a cluster.

    Attributes:
        agent: Kind of agent that runs the source.
        claim: PersistentVolumeClaim that holds the watched folder.
        spool_size: Size of the volume for the source's spool.
        secret: Secret with the source's credentials.
        pod: Fields of the agent's pod.
    """

    agent: str = setting(
        "",
        "How the source's agent runs on a cluster. `claim`: one agent that watches the volume `claim` and keeps "
        "its spool on another volume; `node`: one agent on each edge node that reads a folder, a video file or a "
        "device of the node (needs a privileged namespace of its own); `reader`: like `claim`, but without a stored "
        "spool, so that all images are sent again after a restart, with the same ids; `service`: one agent without a "
        "folder that keeps its spool on a volume, for images that are read over the network. Empty: the "
        "agent that suits the kind of source best.",
        choices=("", "claim", "node", "reader", "service"),
    )
    claim: str = setting("", "PersistentVolumeClaim whose root is the watched folder, on a cluster.")
    spool_size: str = setting(
        "2Gi",
        "Size of the volume that stores images while the receiver does not answer, on a cluster. Slightly less "
        "than half of it is for waiting images, a tenth for dead letters, and the rest for the database's "
        "overhead.",
    )
    secret: str = setting("", "Secret with the credentials, which is mounted in place of `credentials`, on a cluster.")

    pod: dict[str, Any] = setting(
        dict,
        "Fields of the agent's pod besides `knative.pod`, on a cluster, such as a `nodeSelector` for nodes that have "
        "a camera. A limit for a resource of a device plugin, such as `squat.ai/video`, gives an agent the device that "
        "it reads; without one the agent's container is privileged, because another container can't open a device.",
        nested=True,
    )

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield violations of rules that concern several fields, as (field, message)."""
        yield from SourceSpec.faults(self)
        if not QUANTITY_PATTERN.fullmatch(self.spool_size):
            yield "spool_size", f"must be a quantity such as 2Gi (got {self.spool_size!r})"
        for setting_name, object_name in (("claim", self.claim), ("secret", self.secret)):
            if fault := find_object_fault(object_name):
                yield setting_name, fault


_OF_AGENT = frozenset({"name", "kind", "options"})
CLUSTER_SOURCE_SETTINGS = tuple(one.name for one in fields(ClusterSource) if one.name not in _OF_AGENT)
"""Names of the settings of a source in eaves.yaml that are for a platform and aren't passed to the source's agent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterMqttSettings(MqttTriggerSettings):
    """Settings for publishing to an MQTT broker: the section `mqtt` of a trigger whose url is mqtt:// or mqtts://."""

    secret: str = setting(
        "", "Secret with the credentials' files, which is mounted in place of `credentials`, on a cluster."
    )
    spool_size: str = setting(
        "1Gi",
        "Size of the volume that stores predictions while the MQTT broker does not answer, on a cluster. "
        "Slightly less than half of it is for waiting events, a tenth for dead letters, and the rest for the "
        "database's overhead.",
    )

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield violations of rules that concern several fields, as (field, message)."""
        yield from MqttTriggerSettings.faults(self)
        if not QUANTITY_PATTERN.fullmatch(self.spool_size):
            yield "spool_size", f"must be a quantity such as 1Gi (got {self.spool_size!r})"
        if fault := find_object_fault(self.secret):
            yield "secret", fault


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterTrigger(TriggerSpec):
    """A trigger on a cluster.

    Attributes:
        mqtt: Settings for publishing events to an MQTT broker.
    """

    mqtt: ClusterMqttSettings = setting(
        ClusterMqttSettings, "How events are published if url is the address of an MQTT broker."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterRelay(RelaySpec):
    """A relay on a cluster.

    Attributes:
        secret: Secret with the relay's credentials.
    """

    secret: str = setting("", "Secret with the credentials, which is mounted in place of `credentials`, on a cluster.")

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield violations of rules that concern several fields, as (field, message)."""
        yield from RelaySpec.faults(self)
        if fault := find_object_fault(self.secret):
            yield "secret", fault


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterApp(AppSpec):
    """The app that one `eaves deploy` applies to a site.

    Attributes:
        function: The function, in its container image.
        triggers: Triggers that feed the function, and triggers that send its events to subscribers.
        sources: Sources of images, each with the agent that runs it.
        relay: Relay that forwards the function's predictions over the link.
    """

    function: ClusterFunction
    triggers: tuple[ClusterTrigger, ...] = ()
    sources: tuple[ClusterSource, ...] = ()
    relay: ClusterRelay = field(default_factory=ClusterRelay)


def build_default_trigger(function: FunctionSpec) -> ClusterTrigger:
    """Build the trigger that sends captured images to a function (`eaves.platform.default_trigger`)."""
    made = default_trigger(function.name, captured=function.captured, start_timeout_s=function.scale.start_timeout_s)
    return ClusterTrigger(name=made.name, filter=made.filter, function=made.function, delivery=made.delivery)


def find_object_fault(name: str) -> str:
    """Return why a text can't be the name of a Kubernetes object; empty when it can be, or is empty."""
    if not name or SUBDOMAIN_PATTERN.fullmatch(name):
        return ""
    return f"must be a name that Kubernetes allows: at most 253 characters a-z, 0-9, '-' and '.' (got {name!r})"
