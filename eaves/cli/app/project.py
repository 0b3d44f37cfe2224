"""The dataclass of eaves.yaml, made of the sections of all packages, and its loader."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from converters.settings import ConvertSettings, PipelineSettings
from eaves.base.names import NAME_PATTERN
from eaves.config import SettingsLayer, build, env_layer, flag_layer, setting
from eaves.config.yaml_text import load_yaml
from eaves.errors import ConfigError, Fault
from eaves.platform import RELAY, ScaleSettings
from eaves.platform.relay import CLOUD, EDGE
from functions.settings import ServeSettings
from knative.settings import KnativeSettings, RolloutSettings, SiteSettings
from knative.specs import CLUSTER_SOURCE_SETTINGS, ClusterRelay, ClusterSource, ClusterTrigger
from knative.training.job_settings import JobSettings
from trainer.settings import DataSettings, TrainSettings

ARTIFACTS = "artifacts"
"""Name of the folder beside eaves.yaml that conversions write artifacts into."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """The settings in one eaves.yaml: one model, its function, and the sources that feed the function.

    Triggers, sources and the relay include settings that only a cluster needs; `eaves.cli.app.app_specs` leaves those
    out for this machine.
    """

    name: str = setting("images", "Name of the model, the function and their directories; a DNS label.")
    site: str = setting("home", "Name of this place; the source of every event is /eaves/SITE/NAME.")
    data: DataSettings = setting(DataSettings, "Labelled images that the model is trained on; not needed to deploy.")
    train: TrainSettings = setting(TrainSettings, "Training of the model.")
    convert: ConvertSettings = setting(ConvertSettings, "Conversion of a run to an artifact.")
    function: ServeSettings = setting(ServeSettings, "Predictions of the function, and its limits.")
    scale: ScaleSettings = setting(ScaleSettings, "Number of the function's replicas, and when they start and stop.")
    triggers: tuple[ClusterTrigger, ...] = setting(
        (), "Further destinations of events; captured images reach the function without a trigger."
    )
    sources: tuple[ClusterSource, ...] = setting((), "Sources, which turn images into events.")
    relay: ClusterRelay = setting(
        ClusterRelay, "Relay, which forwards predictions to a receiver over a network link that may fail."
    )
    through: str = setting(
        EDGE,
        "Place where images are predicted: `edge`, by the function here; `cloud`, by the function of the same name "
        "behind the receiver: each image is sent over the link, and its prediction comes back. `cloud` is for "
        "comparison, and for links that are always good.",
        choices=(EDGE, CLOUD),
    )
    knative: KnativeSettings = setting(KnativeSettings, "Deployment of the app to a cluster.")
    job: JobSettings = setting(JobSettings, "Training in a cluster.")
    pipeline: PipelineSettings = setting(
        PipelineSettings, "Quality that a model must reach before a pipeline publishes it."
    )
    rollout: RolloutSettings = setting(RolloutSettings, "Rollout of a new revision in a cluster.")
    sites: tuple[SiteSettings, ...] = setting(
        (), "Sites, which are edge places in clusters; when none is listed, `site` names the only one."
    )

    def faults(self) -> Iterator[tuple[str, str]]:
        """Return path and message of each violated rule that concerns several settings."""
        for path, value in (("name", self.name), ("site", self.site)):
            if not NAME_PATTERN.fullmatch(value):
                yield path, f"must be 1-40 characters a-z, 0-9 and '-', starting with a letter (got {value!r})"
        if self.name in [trigger.name for trigger in self.triggers]:
            yield "triggers", f"the name {self.name!r} is reserved for the trigger that feeds the function"
        if sum(trigger.mqtt.home_assistant for trigger in self.triggers) > 1:
            yield "triggers", "home_assistant is set for more than one trigger; each camera would appear twice"
        yield from self._relay_faults()
        for path, named in (("triggers", self.triggers), ("sources", self.sources), ("sites", self.sites)):
            names = [one.name for one in named]
            for twice in sorted({name for name in names if names.count(name) > 1}):
                yield path, f"two {path} have the name {twice!r}"

    def _relay_faults(self) -> Iterator[tuple[str, str]]:
        if not self.relay.enabled:
            if self.through == CLOUD:
                yield (
                    "through",
                    "`cloud` needs relay.to, the address of the receiver in front of the function in the cloud",
                )
            return
        for path, named in (("triggers", self.triggers), ("sources", self.sources)):
            if RELAY in [one.name for one in named]:
                yield path, f"the name {RELAY!r} is reserved for the relay"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """A project with the directory of its eaves.yaml.

    Attributes:
        root: Directory of eaves.yaml; relative paths in the file start here.
        project: The settings in eaves.yaml.
        origin: Name of the file in messages.
        values: Content of the file before it was checked, to which a command adds the values of its flags.
    """

    root: Path
    project: Project
    origin: str
    values: dict[str, Any] = field(default_factory=dict)

    def path(self, relative: Path) -> Path:
        """Return a path in eaves.yaml as a path from the working directory."""
        return self.root / relative

    @property
    def runs(self) -> Path:
        """Folder that trainings write runs into."""
        return self.root / "runs"

    @property
    def artifacts(self) -> Path:
        """Folder that conversions write artifacts into."""
        return self.root / ARTIFACTS


def load_workspace(
    file: Path, flags: dict[str, Any] | None = None, *, section: str = "", needs_data: bool = False
) -> Workspace:
    """Load eaves.yaml; environment variables take precedence over the file, and flags over both.

    Args:
        file: Path of eaves.yaml.
        flags: Dotted path of a setting, such as `train.epochs`, to its value.
        section: Section with a trailing dot, such as `train.`, whose settings the command's flags name without it.
        needs_data: Whether `data.path` is required, as a training requires it. Otherwise it may be left out, and is
            empty then: an artifact or a container image is deployed without images.

    Raises:
        ConfigError: When the file is missing, isn't YAML, or has faults; it holds all faults.
    """
    values = read_yaml(file)
    layers = [
        *([] if needs_data else [SettingsLayer(origin=file.name, values={"data": {"path": ""}})]),
        SettingsLayer(origin=file.name, values=values),
        env_layer(Project, os.environ),
        flag_layer(flags or {}, section),
    ]
    faults: list[Fault] = []
    project = None
    try:
        project = build(Project, *layers)
    except ConfigError as error:
        faults += error.faults
    faults += [fault for fault in _find_source_faults(values, file.name) if str(fault) not in map(str, faults)]
    if faults or project is None:
        raise ConfigError(faults)
    return Workspace(root=file.absolute().parent, project=project, origin=file.name, values=values)


def _find_source_faults(values: Mapping[str, Any], origin: str) -> list[Fault]:
    """Return the faults in settings of sources; which settings a source may have depends on its kind."""
    listed = values.get("sources")
    if not listed or not isinstance(listed, list) or not all(isinstance(source, dict) for source in listed):
        return []
    from eaves.sources.agent.configuration import read_sources  # imports the modules of the kinds that are named

    own = [{key: value for key, value in source.items() if key not in CLUSTER_SOURCE_SETTINGS} for source in listed]
    return read_sources(own, origin, beside=CLUSTER_SOURCE_SETTINGS)[1]


def read_yaml(file: Path) -> dict[str, Any]:
    """Load the mapping in a YAML file.

    Raises:
        ConfigError: When the file is missing, can't be read, or holds no mapping.
    """
    try:
        values = load_yaml(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError([Fault(origin=str(file), path="", message="no such file")], hint="eaves init") from error
    except (OSError, ValueError) as error:
        raise ConfigError([Fault(origin=str(file), path="", message=f"can't be read: {error}")]) from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(
            [Fault(origin=str(file), path="", message="must hold settings, such as `name: flowers`")], hint="eaves init"
        )
    return values
