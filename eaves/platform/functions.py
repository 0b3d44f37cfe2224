"""The spec of a function."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from eaves.artifact.manifest import CLASSIFY, EMBED, TENSOR
from eaves.config import setting
from eaves.events import IMAGE_CAPTURED, IMAGE_CLASSIFIED, IMAGE_EMBEDDED, TENSOR_CAPTURED, TENSOR_PREDICTED


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
        return {TENSOR: TENSOR_PREDICTED, EMBED: IMAGE_EMBEDDED}.get(self.task, IMAGE_CLASSIFIED)
