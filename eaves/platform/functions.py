"""A function as it is wanted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from eaves.artifact.manifest import CLASSIFY, EMBED, TENSOR
from eaves.config import setting
from eaves.events import IMAGE_CAPTURED, IMAGE_CLASSIFIED, IMAGE_EMBEDDED, TENSOR_CAPTURED, TENSOR_PREDICTED


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleSettings:
    """How many replicas a function has."""

    min: int = setting(0, "Replicas kept running; 0 lets the function stop when idle.", minimum=0, maximum=100)
    max: int = setting(1, "Most replicas at once; each holds the model in memory.", minimum=1, maximum=100)
    idle_s: float = setting(
        60.0,
        "Seconds without a request before a replica stops; Knative's stable window is 60 too. A cluster takes whole "
        "seconds, 6 at least.",
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
    """One function as it is wanted, without what holds its artifact: each platform's own spec adds that.

    Attributes:
        name: DNS label; also the last part of its events' source.
        site: The site's name, in its events' source.
        artifact_digest: The digest `deploy` saw; a platform refuses another.
        task: What the artifact does, which decides the types of its events.
        scale: How many replicas.
        concurrency: Requests one replica serves at the same time; 0: one per CPU.
        env: Settings of the function process by environment variable.
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
        """Type of the events that it predicts."""
        return TENSOR_CAPTURED if self.task == TENSOR else IMAGE_CAPTURED

    @property
    def replied(self) -> str:
        """Type of its predictions."""
        return {TENSOR: TENSOR_PREDICTED, EMBED: IMAGE_EMBEDDED}.get(self.task, IMAGE_CLASSIFIED)
