"""Specs of an app on a cluster: the specs of every platform (`eaves.platform`), with the settings that a cluster adds.

eaves.yaml holds both kinds of settings side by side in the same sections, so the sections are read as these classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields

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
        through: First receiver of the source's images: the function or the Broker.
        claim: PersistentVolumeClaim that holds the watched folder.
        spool_size: Size of the volume for the source's spool.
        secret: Secret with the source's credentials.
    """

    agent: str = setting(
        "",
        "On a cluster: `claim`, one agent that watches the volume `claim` and keeps its spool on a volume of its own; "
        "`node`, one on each edge node, that watches the folder `path` of the node (needs a privileged namespace of "
        "its own); `reader`, like `claim` but without memory: it sends everything again after each restart, under the "
        "same ids; `service`, one agent without a folder that keeps its spool on a volume of its own, for what is "
        "reached over the network. Not given: what fits its kind.",
        choices=("", "claim", "node", "reader", "service"),
    )
    through: str = setting(
        "function",
        "On a cluster: `function`, the agent asks the function itself, keeps its predictions and passes them on to "
        "the Broker: nothing is lost with a Broker that keeps events in memory; `broker`, images go through the "
        "Broker, where Triggers of others find them too.",
        choices=("function", "broker"),
    )
    claim: str = setting("", "On a cluster: the PersistentVolumeClaim whose root is the folder to watch.")
    spool_size: str = setting(
        "2Gi",
        "On a cluster: size of the volume for images while the broker doesn't answer. Somewhat less than half of it is "
        "for images that wait, a tenth for dead letters, the rest for the files' own needs.",
    )
    secret: str = setting("", "On a cluster: the Secret with its credentials, mounted in place of `credentials`.")

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield violations of rules that concern several fields, as (field, message)."""
        yield from SourceSpec.faults(self)
        if not QUANTITY_PATTERN.fullmatch(self.spool_size):
            yield "spool_size", f"must be a quantity such as 2Gi (got {self.spool_size!r})"
        for setting_name, object_name in (("claim", self.claim), ("secret", self.secret)):
            if fault := find_object_fault(object_name):
                yield setting_name, fault


_COMMON = frozenset(one.name for one in fields(SourceSpec))
CLUSTER_SOURCE_SETTINGS = tuple(one.name for one in fields(ClusterSource) if one.name not in _COMMON)
"""Settings of a source in eaves.yaml that are for the cluster and are not passed on to the source's agent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterMqttSettings(MqttTriggerSettings):
    """Settings for publishing to an MQTT broker: the section `mqtt` of a trigger whose url is mqtt:// or mqtts://."""

    secret: str = setting(
        "", "On a cluster: the Secret that holds those files; it is mounted in place of `credentials`."
    )
    spool_size: str = setting(
        "1Gi",
        "On a cluster: size of the volume for predictions while the broker doesn't answer. Somewhat less than half of "
        "it is for those that wait, a tenth for dead letters, the rest for the files' own needs.",
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

    mqtt: ClusterMqttSettings = setting(ClusterMqttSettings, "How events are published when url is an MQTT broker's.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterRelay(RelaySpec):
    """A relay on a cluster.

    Attributes:
        secret: Secret with the relay's credentials.
    """

    secret: str = setting("", "On a cluster: the Secret with its credentials, mounted in place of `credentials`.")

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
    """Find the fault of a Kubernetes object's name; empty when the name is valid or empty."""
    if not name or SUBDOMAIN_PATTERN.fullmatch(name):
        return ""
    return f"must be the name of a Kubernetes object: a-z, 0-9, '-' and '.', no more than 253 (got {name!r})"
