"""The spec of an app, which one `eaves deploy` deploys: its function, its sources, its triggers and its relay.

The sections of eaves.yaml are these dataclasses, with the settings for every platform.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from eaves.artifact.manifest import ANOMALY, CLASSIFY, EMBED, TENSOR
from eaves.base.names import NAME, OBJECT_OR_NONE
from eaves.config import setting
from eaves.events import (
    IMAGE_CAPTURED,
    IMAGE_CLASSIFIED,
    IMAGE_EMBEDDED,
    IMAGE_INSPECTED,
    TENSOR_CAPTURED,
    TENSOR_PREDICTED,
)
from eaves.link.client import check_receiver
from eaves.link.protocol import FUNCTIONS
from eaves.platform.quantities import QUANTITY, find_room, parse_quantity
from eaves.platform.triggers import TriggerSpec
from eaves.spool.image_choice import ChoiceLimits

FUNCTION, BROKER = "function", "broker"
RELAY = "relay"
"""Name of the relay in logs, queues and objects, in the places where a source or a trigger has its own name."""
EDGE, CLOUD = "edge", "cloud"
NONE, LOW, CHOSEN, ALL = "none", "low", "chosen", "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleSettings:
    """Settings for the number of replicas of a function: its limits, and when replicas are started and stopped."""

    min: int = setting(0, "Minimum number of replicas; 0 lets the function stop when idle.", minimum=0, maximum=100)
    max: int = setting(1, "Maximum number of replicas; each holds the model in memory.", minimum=1, maximum=100)
    idle_s: float = setting(
        60.0,
        "Seconds without a request after which a replica stops. The default is that of "
        "Knative's stable window. A cluster accepts whole seconds only, at least 6.",
        minimum=0.5,
        maximum=3600,
    )
    start_timeout_s: float = setting(
        60.0,
        "Seconds that a new replica may take to become ready, including the check of its golden images.",
        minimum=1,
        maximum=600,
    )

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield the path and message of each fault that involves several settings."""
        if self.max < self.min:
            yield "max", f"must be >= scale.min (got {self.max}, min is {self.min})"


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSpec:
    """Spec of one function without the location of its artifact, which each platform's own spec adds.

    Attributes:
        name: Name of the function, a DNS label; also the last part of its events' source.
        site: Name of the site, for its events' source.
        artifact_digest: Digest of the artifact at `eaves deploy`; a platform refuses an artifact with another digest.
        task: Task of the artifact, which determines the types of its events.
        scale: Number of replicas.
        concurrency: Requests that one replica serves at the same time; 0: one per CPU.
        env: Settings of the function's process, by environment variable.
    """

    name: str
    site: str
    artifact_digest: str = ""
    task: str = CLASSIFY
    scale: ScaleSettings = field(default_factory=ScaleSettings)
    concurrency: int = 0
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def captured(self) -> str:
        """Type of the events that the function receives and makes predictions for."""
        return TENSOR_CAPTURED if self.task == TENSOR else IMAGE_CAPTURED

    @property
    def replied(self) -> str:
        """Type of the events with the function's predictions."""
        others = {TENSOR: TENSOR_PREDICTED, EMBED: IMAGE_EMBEDDED, ANOMALY: IMAGE_INSPECTED}
        return others.get(self.task, IMAGE_CLASSIFIED)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSpec:
    """A source of images: an entry of `sources` in eaves.yaml.

    Attributes:
        options: Further settings for the agent: those that every source has, and those of the kind. The process that
            starts the agent checks them. The other fields but `name`, `kind` and `through` are for clusters.
    """

    name: str = setting("", "Name of the source, unique within the app.", form=NAME)
    kind: str = setting(
        "folder",
        "Kind of the source: `folder`, `camera`, `mqtt`, `http`, `replay`, `s3`, or a kind that an installed package "
        "adds.",
    )
    options: dict[str, Any] = setting(
        dict,
        "Settings that every source has, and the settings of its kind; in eaves.yaml "
        "they stand directly under the source.",
        collects=True,
    )
    agent: str = setting(
        "",
        "How the source's agent runs on a cluster. `claim`: one agent that watches the volume `claim` and keeps "
        "its spool on another volume; `node`: one agent on each edge node that reads a folder, a video file or a "
        "device of the node (needs a privileged namespace of its own); `service`: one agent without a folder that "
        "keeps its spool on a volume, for images that are read over the network. Empty: the agent that suits the "
        "kind of source best.",
        choices=("", "claim", "node", "service"),
    )
    through: str = setting(
        FUNCTION,
        "Receiver of the source's images. `function`: the agent sends images to the function itself, stores the "
        "predictions and sends them to the Broker, so that each image is stored once, and none is lost with a Broker "
        "that keeps events in memory; `broker`: the agent sends images to the Broker, where triggers and other apps "
        "can receive them too. On one machine, where one agent runs all sources of an app, one `broker` is for all.",
        choices=(FUNCTION, BROKER),
    )
    claim: str = setting(
        "", "PersistentVolumeClaim whose root is the watched folder, on a cluster.", form=OBJECT_OR_NONE
    )
    spool_size: str = setting(
        "2Gi",
        "Size of the volume that stores images while the receiver does not answer, on a cluster. Slightly less "
        "than half of it is for waiting images, a tenth for dead letters, and the rest for the database's "
        "overhead.",
        form=QUANTITY,
    )
    secret: str = setting(
        "",
        "Secret with the credentials, which is mounted in place of `credentials`, on a cluster.",
        form=OBJECT_OR_NONE,
    )

    pod: dict[str, Any] = setting(
        dict,
        "Fields of the agent's pod besides `knative.pod`, on a cluster, such as a `nodeSelector` for nodes that have "
        "a camera. A limit for a resource of a device plugin, such as `squat.ai/video`, gives an agent the device that "
        "it reads; without one the agent's container is privileged, because another container can't open a device.",
        nested=True,
    )

    @property
    def settings(self) -> dict[str, Any]:
        """The source's settings, one item of the agent's EAVES_SOURCES."""
        return {"name": self.name, "kind": self.kind, **self.options}


@dataclass(frozen=True, slots=True, kw_only=True)
class RelaySpec:
    """Spec of the relay; an app has one when `to` is set."""

    to: str = setting(
        "",
        "Address of the receiver, https://HOST[:PORT]; http:// is allowed for this machine "
        "only. The default is empty: the site has no relay.",
    )
    credentials: Path | None = setting(
        None,
        "Folder with the credentials of the site: the file `token`, or `tls.crt` and "
        "`tls.key`, and `ca.crt` if the receiver's certificate needs it. Changed files are "
        "read again.",
    )
    images: str = setting(
        NONE,
        "Images that are forwarded along with their predictions: `none`; `low`, those whose "
        "prediction has `confidence: low`; `chosen`, those that the section `choose` selects for labelling; `all`. An "
        "image has about a hundred times the bytes of its prediction.",
        choices=(NONE, LOW, CHOSEN, ALL),
    )
    alarms: tuple[dict[str, str], ...] = setting(
        (),
        "Events that are forwarded before all others: a list of attribute-to-value mappings, "
        "such as `[{label: fire}]`; an event is an alarm if all the attributes of one mapping "
        "match.",
    )
    newest_first: bool = setting(
        False,
        "Forward the newest events first after an outage, for people who watch the "
        "present. If false, events are forwarded in order.",
    )
    rate_bytes: int = setting(
        0, "Maximum number of bytes per second over the link. The default, 0, is no limit.", minimum=0
    )
    spool_size: str = setting(
        "2Gi",
        "Size of the disk space for events that wait while the link is down; on a cluster, the "
        "size of the volume. Somewhat less than half of it holds waiting events, a tenth holds "
        "dead letters, and the rest is for the files' overhead. The default holds about a "
        "million predictions.",
        form=QUANTITY,
    )
    secret: str = setting(
        "",
        "Secret with the credentials, which is mounted in place of `credentials`, on a cluster.",
        form=OBJECT_OR_NONE,
    )

    @property
    def enabled(self) -> bool:
        """Whether the app has a relay."""
        return bool(self.to)

    @property
    def forward_images(self) -> str:
        """Images that an agent sends along whatever the section `choose` selects: its setting of this name."""
        return NONE if self.images == CHOSEN else self.images

    @property
    def settings(self) -> dict[str, str]:
        """Settings of the relay's process on every platform, by name in `eaves.link.settings.RelaySettings`.

        The platform decides which images reach the relay; the relay forwards all of those.
        """
        return {
            "to": self.to,
            "alarms": json.dumps([dict(alarm) for alarm in self.alarms]),
            "newest_first": str(self.newest_first).lower(),
            "rate_bytes": str(self.rate_bytes),
            "images": NONE if self.images == NONE else ALL,
            **find_room(self.spool_size),
        }

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield the path and message of each fault that involves several settings."""
        if self.to and (fault := check_receiver(self.to)):
            yield "to", fault
        for index, alarm in enumerate(self.alarms):
            if not alarm:
                yield (
                    f"alarms[{index}]",
                    ("must name at least one attribute; without one, every event would be an alarm"),
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChooseSpec:
    """Which images agents choose for labelling, where `relay.images` is `chosen` or `here` is true."""

    audit_percent: float = setting(
        1.0,
        "Percentage of all images that are chosen at random, with `chosen: audit`. They only judge models and are "
        "never trained on, because accuracy on images that a model was unsure of says little about the others.",
        minimum=0,
        maximum=100,
    )
    images_per_hour: int = setting(
        6,
        "Number of images of each predicted class that may be chosen in an hour because the model was unsure, "
        "with `chosen: unsure`: those with the smallest margins, without near-duplicates. One unused hour is saved.",
        minimum=0,
        maximum=3600,
    )
    bytes_per_day: str = setting(
        "20Mi", "Maximum size of all images that one agent chooses in a day (UTC).", form=QUANTITY
    )
    here: bool = setting(
        False,
        "Put chosen images into the project's folder of labelled images on this machine, as photos without a label: "
        "those with `chosen: audit` into its folder `audit`. Only on one machine.",
    )

    @property
    def settings(self) -> str:
        """The setting `choose` of an agent."""
        limits = ChoiceLimits(
            audit_percent=self.audit_percent,
            images_per_hour=self.images_per_hour,
            bytes_per_day=int(parse_quantity(self.bytes_per_day)),
        )
        return json.dumps(asdict(limits))


@dataclass(frozen=True, slots=True, kw_only=True)
class AppSpec:
    """An app that one `eaves deploy` deploys on any platform; each platform has a subclass that adds to it.

    Attributes:
        function: Spec of the function.
        triggers: Specs of the triggers, which route events to the function and its predictions to receivers.
        sources: Specs of the sources.
        relay: Spec of the relay, which forwards the predictions over the link.
        choose: Which images agents choose for labelling.
        through: Location of the function that predicts images: `edge`, the function here; `cloud`, one behind the
            receiver.
    """

    function: FunctionSpec
    triggers: tuple[TriggerSpec, ...] = ()
    sources: tuple[SourceSpec, ...] = ()
    relay: RelaySpec = field(default_factory=RelaySpec)
    choose: ChooseSpec = field(default_factory=ChooseSpec)
    through: str = EDGE

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield the path and message of each fault that involves several settings."""
        why = "choose.here is true" if self.choose.here else ""
        if self.relay.enabled and self.relay.images in (LOW, CHOSEN):
            why = f"relay.images is {self.relay.images}"
        if self.relay.enabled and self.through == CLOUD:
            why = "`through` is cloud"
        if self.choose.here and (self.through == CLOUD or self.relay.forward_images != NONE):
            yield "choose.here", "must be false, unless `through` is edge and relay.images is none or chosen"
        if self.relay.enabled and self.relay.images == CHOSEN and self.through == CLOUD:
            yield "relay.images", "can't be chosen, if `through` is cloud, as every image goes to the function there"
        for index, source in enumerate(self.sources):
            if why and source.through == BROKER:
                needed = "must be function, as the agent must ask the function itself"
                yield f"sources[{index}].through", f"{needed}, if {why}"

    @property
    def asks_function(self) -> bool:
        """Whether an agent that runs all sources asks a function itself, and sends on only its predictions."""
        return self.through == CLOUD or all(source.through == FUNCTION for source in self.sources)

    @property
    def chooses(self) -> bool:
        """Whether the app's agents choose images for labelling."""
        return self.through == EDGE and (self.choose.here or (self.relay.enabled and self.relay.images == CHOSEN))

    @property
    def name(self) -> str:
        """Name of the app, which is that of its function."""
        return self.function.name

    @property
    def cloud_function(self) -> str:
        """Address of the cloud function that agents send images to; empty when they use the local function."""
        return f"{self.relay.to.rstrip('/')}{FUNCTIONS}{self.name}" if self.through == CLOUD else ""
