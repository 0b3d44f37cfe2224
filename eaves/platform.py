"""What runs functions, seen from above: specs of what is wanted, plain results of what is, and the Protocol between.

Specs are files until they are applied, so they convert to and from plain dictionaries here. Nothing in this module
knows processes or clusters; `eaves.local` and `knative` implement the Protocol and `tests/contract` runs over both.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Protocol

from eaves.admin.report import SourceReport
from eaves.admin.summary import AgentStatus, LanePause
from eaves.artifact.manifest import CLASSIFY, EMBED, TENSOR
from eaves.config import Layer, build, setting
from eaves.credentials import redact
from eaves.delivery import Answer
from eaves.delivery.mqtt.settings import MqttSettings
from eaves.delivery.mqtt.target import find_url_fault, is_mqtt
from eaves.events import (
    IMAGE_CAPTURED,
    IMAGE_CLASSIFIED,
    IMAGE_EMBEDDED,
    TENSOR_CAPTURED,
    TENSOR_PREDICTED,
    Event,
)
from eaves.names import NAME_PATTERN, SUBDOMAIN_PATTERN

MAX_TIMEOUT_S = 600.0
"""Source: knative/serving, config-defaults: max-revision-timeout-seconds."""
QUANTITY_PATTERN = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?")
"""Source: Kubernetes, apimachinery/pkg/api/resource, Quantity; without exponents and the sizes nobody needs here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleSettings:
    """How many replicas a function has."""

    min: int = setting(0, "Replicas kept running; 0 lets the function stop when idle.", minimum=0, maximum=100)
    max: int = setting(1, "Most replicas at once; each holds the model in memory.", minimum=1, maximum=100)
    idle_s: float = setting(
        60.0,
        "Seconds without a request before a replica stops; Knative's stable window is 60 too.",
        minimum=0.5,
        maximum=3600,
    )
    start_timeout_s: float = setting(
        60.0, "Seconds a new replica may take to become ready, golden check included.", minimum=1, maximum=600
    )

    def faults(self) -> Iterator[tuple[str, str]]:
        """Rules across fields."""
        if self.max < self.min:
            yield "max", f"must be >= scale.min (got {self.max}, min is {self.min})"


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSpec:
    """One function as it is wanted.

    Attributes:
        name: DNS label; also the last part of its events' source.
        site: The site's name, in its events' source.
        artifact: Directory of the artifact.
        artifact_digest: The digest `deploy` saw; a platform refuses another.
        image: The container image that holds the artifact, `REPOSITORY@sha256:...`; what a cluster runs. Empty where
            functions are processes.
        task: What the artifact does, which decides the types of its events.
        scale: How many replicas.
        concurrency: Requests one replica serves at the same time; 0: one per CPU.
        env: Settings of the function process by environment variable.
    """

    name: str
    site: str
    artifact: Path
    artifact_digest: str = ""
    image: str = ""
    task: str = CLASSIFY
    scale: ScaleSettings = field(default_factory=ScaleSettings)
    concurrency: int = 0
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def captured(self) -> str:
        """Type of the events that it predicts."""
        return TENSOR_CAPTURED if self.task == TENSOR else IMAGE_CAPTURED

    @property
    def replied(self) -> str:
        """Type of its predictions."""
        return {TENSOR: TENSOR_PREDICTED, EMBED: IMAGE_EMBEDDED}.get(self.task, IMAGE_CLASSIFIED)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySettings:
    """How a trigger delivers, the same meaning as a Knative Trigger's `delivery`."""

    retry: int = setting(6, "Attempts after the first before the event becomes a dead letter.", minimum=0, maximum=100)
    backoff_s: float = setting(0.5, "Seconds before the first retry; doubles each time.", minimum=0, maximum=60)
    backoff_cap_s: float = setting(30.0, "Longest pause between retries, seconds.", minimum=0, maximum=3600)
    timeout_s: float = setting(
        120.0, "Seconds one attempt may take; above cold start plus queue.", minimum=1, maximum=MAX_TIMEOUT_S
    )
    dead_letter_sink: str = setting(
        "",
        "On a cluster: the http(s) address that gets the events given up on; empty: the broker drops them. The local "
        "platform keeps them itself (`eaves queue`).",
    )

    def faults(self) -> Iterator[tuple[str, str]]:
        """Rules across fields."""
        if self.dead_letter_sink and not self.dead_letter_sink.startswith(("http://", "https://")):
            yield "dead_letter_sink", f"must start with http:// or https:// (got {self.dead_letter_sink!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerSpec:
    """Which events go where.

    Attributes:
        name: Unique in the app.
        filter: Attribute to exact value; all must match. Empty: every event.
        function: Name of the function that receives them, or ""
        url: ... or the address that does: of an HTTP server, or an MQTT broker's with a topic.
        mqtt: How they are published, for an MQTT broker.
        delivery: Retries and time limits.
    """

    name: str = setting("", "Name of the trigger, unique here.")
    filter: dict[str, str] = setting(dict, "Event attribute to exact value; all must match, none matches every event.")
    function: str = setting("", "The function that receives the events (this one when neither it nor url is set).")
    url: str = setting(
        "",
        "What receives the events instead of a function: an http(s) address, or mqtt://HOST[:PORT]/TOPIC (mqtts:// "
        "with TLS), where attributes of the event may stand in braces, such as {label}.",
    )
    mqtt: MqttSettings = setting(MqttSettings, "How events are published when url is an MQTT broker's.")
    delivery: DeliverySettings = setting(DeliverySettings, "Retries and time limits.")

    def faults(self) -> Iterator[tuple[str, str]]:
        """Rules across fields."""
        if not NAME_PATTERN.fullmatch(self.name):
            yield "name", f"must be 1-40 characters a-z, 0-9 and '-', starting with a letter (got {self.name!r})"
        if self.function and self.url:
            yield "url", "can't be set together with function"
        if self.is_mqtt:
            if fault := find_url_fault(self.url):
                yield "url", fault
            if not QUANTITY_PATTERN.fullmatch(self.mqtt.spool_size):
                yield "mqtt.spool_size", f"must be a quantity such as 1Gi (got {self.mqtt.spool_size!r})"
            if fault := _find_object_fault(self.mqtt.secret):
                yield "mqtt.secret", fault
            return
        if self.url and not self.url.startswith(("http://", "https://")):
            yield "url", f"must start with http://, https://, mqtt:// or mqtts:// (got {redact(self.url)!r})"
        if self.mqtt != MqttSettings():
            yield "mqtt", f"needs a url that starts with mqtt:// or mqtts:// (got {redact(self.url)!r})"

    @property
    def is_mqtt(self) -> bool:
        """Whether events are published to an MQTT broker."""
        return is_mqtt(self.url)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSpec:
    """One source of images.

    Attributes:
        name: Unique in the app; the last part of its events' source.
        kind: Which kind of source.
        agent: On a cluster: what runs it.
        through: On a cluster: where its images go first.
        claim: On a cluster: the volume that holds the folder.
        spool_size: On a cluster: room for its durable queue.
        secret: On a cluster: the Secret with its credentials.
        options: What its agent is told beside: the settings that every source has, and those of its kind. Whoever
            starts the agent checks them.
    """

    name: str = setting("", "Name of the source, unique here.")
    kind: str = setting(
        "folder", "Which kind of source: `folder`, `mqtt`, `http`, `replay`, or one that an installed package adds."
    )
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
    options: dict[str, Any] = setting(
        dict, "The settings that every source has, and those of its kind; they stand beside the others.", collects=True
    )

    @property
    def settings(self) -> dict[str, Any]:
        """What its agent is told, as one of EAVES_SOURCES."""
        return {"name": self.name, "kind": self.kind, **self.options}

    def faults(self) -> Iterator[tuple[str, str]]:
        """Rules across fields."""
        if not NAME_PATTERN.fullmatch(self.name):
            yield "name", f"must be 1-40 characters a-z, 0-9 and '-', starting with a letter (got {self.name!r})"
        if not QUANTITY_PATTERN.fullmatch(self.spool_size):
            yield "spool_size", f"must be a quantity such as 2Gi (got {self.spool_size!r})"
        for setting_name, object_name in (("claim", self.claim), ("secret", self.secret)):
            if fault := _find_object_fault(object_name):
                yield setting_name, fault


OF_PLATFORMS = tuple(one.name for one in fields(SourceSpec) if one.name != "options")
"""What eaves.yaml says of a source beside its options."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppSpec:
    """What one `eaves deploy` wants: a function, the triggers that feed it, the sources that feed those."""

    function: FunctionSpec
    triggers: tuple[TriggerSpec, ...] = ()
    sources: tuple[SourceSpec, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As plain data for a file."""
        values: dict[str, Any] = _plain(asdict(self))
        return values


def default_trigger(
    function: str, *, captured: str = IMAGE_CAPTURED, start_timeout_s: float | None = None
) -> TriggerSpec:
    """What is captured goes to the function. The type filter is what keeps its replies from coming back to it.

    Args:
        function: Its name.
        captured: Type of the events.
        start_timeout_s: What a replica may take to start; an attempt may take twice that, since it queues too.
    """
    usual = DeliverySettings()
    patient = min(MAX_TIMEOUT_S, max(usual.timeout_s, 2 * (start_timeout_s or 0.0)))
    delivery = replace(usual, timeout_s=patient)
    return TriggerSpec(name=function, filter={"type": captured}, function=function, delivery=delivery)


def parse_app(values: Mapping[str, Any], origin: str) -> AppSpec:
    """Read a spec file's content.

    Raises:
        ConfigError: With every fault.
    """
    return build(AppSpec, Layer(origin=origin, values=values))


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionStatus:
    """One function as it is.

    Attributes:
        name: Of the function.
        state: `ready` (can answer at once), `idle` (at zero, starts at the first event), `starting`, `failed`,
            `stopped` (nothing runs it).
        replicas: Running now.
        reason: Why it failed, empty otherwise.
        artifact: Directory or reference served.
        artifact_digest: sha256 of its manifest, hex.
        queued: Events accepted and not yet answered.
        dead: Events given up on and kept for inspection.
        delivered: Events answered since the platform started.
        site: In its events' source.
        sources: Its sources, each with its state.
        traffic: Where there are several revisions at once: each that gets requests, with its share.
        agents: What runs its sources, each with its queue.
        pauses: Its triggers' queues that wait.
    """

    name: str
    state: str
    replicas: int = 0
    reason: str = ""
    artifact: str = ""
    artifact_digest: str = ""
    queued: int = 0
    dead: int = 0
    delivered: int = 0
    site: str = ""
    sources: tuple[str, ...] = ()
    traffic: tuple[str, ...] = ()
    agents: tuple[AgentStatus, ...] = ()
    pauses: tuple[LanePause, ...] = ()


def parse_status(values: Mapping[str, Any]) -> FunctionStatus:
    """Read a status that was plain data, such as `dataclasses.asdict` makes it."""
    agents = tuple(
        AgentStatus(
            **{
                **agent,
                "pauses": tuple(LanePause(**pause) for pause in agent["pauses"]),
                "sources": tuple(SourceReport(**source) for source in agent["sources"]),
            }
        )
        for agent in values.get("agents", ())
    )
    pauses = tuple(LanePause(**pause) for pause in values.get("pauses", ()))
    return FunctionStatus(**{**values, "agents": agents, "pauses": pauses})


class Platform(Protocol):
    """What runs functions. Everything raises PlatformError (or a subclass) when the platform itself fails."""

    def deploy(self, app: AppSpec) -> None:
        """Want this app; replaces one whose function has the same name. Idempotent. Does not wait."""

    def promote(self, name: str) -> None:
        """Let what was deployed last take every request; nothing is left to do where `deploy` did so already."""

    def rollback(self, name: str) -> None:
        """Serve again what was served before. Raises NotFoundError when there is nothing before it."""

    def remove(self, name: str) -> None:
        """Stop wanting it; leaves nothing running. Raises NotFoundError when it isn't there."""

    def status(self) -> list[FunctionStatus]:
        """Every function wanted, by name."""

    def invoke(self, name: str, event: Event, *, timeout_s: float = 120.0) -> Answer:
        """Send one event straight to a function, starting it when needed, and return what it answers."""

    def publish(self, event: Event) -> None:
        """Hand one event to the broker; once this returns it is the broker's to deliver, at least once."""

    def logs(self, name: str, *, lines: int = 100) -> list[str]:
        """The last lines a function wrote, oldest first."""


def _find_object_fault(name: str) -> str:
    """Why a Kubernetes object can't have this name; empty when it can, or when there is none."""
    if not name or SUBDOMAIN_PATTERN.fullmatch(name):
        return ""
    return f"must be the name of a Kubernetes object: a-z, 0-9, '-' and '.', no more than 253 (got {name!r})"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
