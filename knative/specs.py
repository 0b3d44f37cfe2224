"""An app as a cluster is told it: what every platform needs (`eaves.platform`), and what only a cluster needs.

eaves.yaml says what all of these hold in the same sections, side by side, so it is read as these classes.
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
    """A function in a cluster.

    Attributes:
        image: The container image that holds the artifact, `REPOSITORY@sha256:...`; empty while none is named, which
            `eaves doctor` looks at and rendering refuses.
    """

    image: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSource(SourceSpec):
    """A source in a cluster.

    Attributes:
        agent: What runs it.
        through: Where its images go first.
        claim: The volume that holds the folder.
        spool_size: Room for its durable queue.
        secret: The Secret with its credentials.
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
        """Rules across fields."""
        yield from SourceSpec.faults(self)
        if not QUANTITY_PATTERN.fullmatch(self.spool_size):
            yield "spool_size", f"must be a quantity such as 2Gi (got {self.spool_size!r})"
        for setting_name, object_name in (("claim", self.claim), ("secret", self.secret)):
            if fault := find_object_fault(object_name):
                yield setting_name, fault


_COMMON = frozenset(one.name for one in fields(SourceSpec))
CLUSTER_SOURCE_SETTINGS = tuple(one.name for one in fields(ClusterSource) if one.name not in _COMMON)
"""Settings of a source in eaves.yaml that its agent isn't told: a cluster is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterMqttSettings(MqttTriggerSettings):
    """How a trigger publishes from a cluster: the section `mqtt` of a trigger whose url is mqtt:// or mqtts://."""

    secret: str = setting(
        "", "On a cluster: the Secret that holds those files; it is mounted in place of `credentials`."
    )
    spool_size: str = setting(
        "1Gi",
        "On a cluster: size of the volume for predictions while the broker doesn't answer. Somewhat less than half of "
        "it is for those that wait, a tenth for dead letters, the rest for the files' own needs.",
    )

    def faults(self) -> Iterator[tuple[str, str]]:
        """Rules across fields."""
        yield from MqttTriggerSettings.faults(self)
        if not QUANTITY_PATTERN.fullmatch(self.spool_size):
            yield "spool_size", f"must be a quantity such as 1Gi (got {self.spool_size!r})"
        if fault := find_object_fault(self.secret):
            yield "secret", fault


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterTrigger(TriggerSpec):
    """A trigger in a cluster.

    Attributes:
        mqtt: How its events are published, for an MQTT broker.
    """

    mqtt: ClusterMqttSettings = setting(ClusterMqttSettings, "How events are published when url is an MQTT broker's.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterRelay(RelaySpec):
    """A relay in a cluster.

    Attributes:
        secret: The Secret with its credentials.
    """

    secret: str = setting("", "On a cluster: the Secret with its credentials, mounted in place of `credentials`.")

    def faults(self) -> Iterator[tuple[str, str]]:
        """Rules across fields."""
        yield from RelaySpec.faults(self)
        if fault := find_object_fault(self.secret):
            yield "secret", fault


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterApp(AppSpec):
    """What one `eaves deploy` wants at a site.

    Attributes:
        function: The function, in its container image.
        triggers: What feeds it, and what its events are sent to.
        sources: What feeds those, each with what runs it.
        relay: What forwards its predictions over the link.
    """

    function: ClusterFunction
    triggers: tuple[ClusterTrigger, ...] = ()
    sources: tuple[ClusterSource, ...] = ()
    relay: ClusterRelay = field(default_factory=ClusterRelay)


def build_default_trigger(function: FunctionSpec) -> ClusterTrigger:
    """The trigger that brings a function what is captured (`eaves.platform.default_trigger`)."""
    made = default_trigger(function.name, captured=function.captured, start_timeout_s=function.scale.start_timeout_s)
    return ClusterTrigger(name=made.name, filter=made.filter, function=made.function, delivery=made.delivery)


def find_object_fault(name: str) -> str:
    """Why a Kubernetes object can't have this name; empty when it can, or when there is none."""
    if not name or SUBDOMAIN_PATTERN.fullmatch(name):
        return ""
    return f"must be the name of a Kubernetes object: a-z, 0-9, '-' and '.', no more than 253 (got {name!r})"
