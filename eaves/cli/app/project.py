"""eaves.yaml: the sections of all packages composed into one file, and read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from converters.gate.settings import PipelineSettings
from converters.settings import ConvertSettings
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
"""Folder that conversions write artifacts into, beside eaves.yaml."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """One eaves.yaml: one model, one function, and what feeds it.

    Triggers, sources and the relay are read with what a cluster needs beside; this machine leaves that out
    (`eaves.cli.app.app_specs`).
    """

    name: str = setting("images", "Name of the model, the function and their directories; a DNS label.")
    site: str = setting("home", "Name of this place; the source of every event is /eaves/SITE/NAME.")
    data: DataSettings = setting(DataSettings, "Labelled images that the model is trained on; not needed to deploy.")
    train: TrainSettings = setting(TrainSettings, "How the model is trained.")
    convert: ConvertSettings = setting(ConvertSettings, "How a run becomes an artifact.")
    function: ServeSettings = setting(ServeSettings, "How the function serves.")
    scale: ScaleSettings = setting(ScaleSettings, "How many replicas the function has.")
    triggers: tuple[ClusterTrigger, ...] = setting(
        (), "Further destinations of events; captured images reach the function without a trigger."
    )
    sources: tuple[ClusterSource, ...] = setting((), "What turns images into events.")
    relay: ClusterRelay = setting(ClusterRelay, "What forwards predictions to a receiver over a link that fails.")
    through: str = setting(
        EDGE,
        "Where images are predicted: `edge`, by the function here; `cloud`, each image is sent over the link to the "
        "function of this name behind the receiver, and its prediction comes back. For comparison, and for links that "
        "are always good.",
        choices=(EDGE, CLOUD),
    )
    knative: KnativeSettings = setting(KnativeSettings, "How the app is deployed to a cluster.")
    job: JobSettings = setting(JobSettings, "How training runs in a cluster.")
    pipeline: PipelineSettings = setting(
        PipelineSettings, "Quality that a model must have before a pipeline publishes it."
    )
    rollout: RolloutSettings = setting(RolloutSettings, "How a new revision takes over in a cluster.")
    sites: tuple[SiteSettings, ...] = setting(
        (), "Edge places in clusters; when there are none, `site` names the one place."
    )

    def faults(self) -> Iterator[tuple[str, str]]:
        """Rules across fields."""
        for path, value in (("name", self.name), ("site", self.site)):
            if not NAME_PATTERN.fullmatch(value):
                yield path, f"must be 1-40 characters a-z, 0-9 and '-', starting with a letter (got {value!r})"
        if self.name in [trigger.name for trigger in self.triggers]:
            yield "triggers", f"the name {self.name!r} is taken by the trigger that feeds the function"
        if sum(trigger.mqtt.home_assistant for trigger in self.triggers) > 1:
            yield "triggers", "home_assistant is set for more than one of them; each camera would appear twice"
        yield from self._relay_faults()
        for path, named in (("triggers", self.triggers), ("sources", self.sources), ("sites", self.sites)):
            names = [one.name for one in named]
            for twice in sorted({name for name in names if names.count(name) > 1}):
                yield path, f"two of them are named {twice!r}"

    def _relay_faults(self) -> Iterator[tuple[str, str]]:
        if not self.relay.enabled:
            if self.through == CLOUD:
                yield "through", "cloud needs relay.to, the address of the receiver before the function in the cloud"
            return
        for path, named in (("triggers", self.triggers), ("sources", self.sources)):
            if RELAY in [one.name for one in named]:
                yield path, f"the name {RELAY!r} is taken by the relay"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """A project and the directory it lives in.

    Attributes:
        root: Directory of eaves.yaml; relative paths in it start here.
        project: What it says.
        origin: The file's name for messages.
        values: Its raw content, for a command that adds flags on top.
    """

    root: Path
    project: Project
    origin: str
    values: dict[str, Any] = field(default_factory=dict)

    def path(self, relative: Path) -> Path:
        """A path of eaves.yaml as seen from here."""
        return self.root / relative

    @property
    def runs(self) -> Path:
        """Where runs go."""
        return self.root / "runs"

    @property
    def artifacts(self) -> Path:
        """Where artifacts go."""
        return self.root / ARTIFACTS


def load_workspace(
    file: Path, flags: dict[str, Any] | None = None, *, section: str = "", needs_data: bool = False
) -> Workspace:
    """Read eaves.yaml, then the environment, then flags.

    Args:
        file: Path of eaves.yaml.
        flags: Dotted path to value, `train.epochs`.
        section: `train.` when the flags name its settings without it.
        needs_data: Whether `data.path` is required, as a training requires it. Otherwise it may be left out, and is
            empty then: an artifact or a container image is deployed without images.

    Raises:
        ConfigError: When it is missing, not YAML, or has faults; all of them together.
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
    """What is wrong with the settings of sources that only their kinds know."""
    listed = values.get("sources")
    if not listed or not isinstance(listed, list) or not all(isinstance(source, dict) for source in listed):
        return []
    from eaves.sources.agent.configuration import read_sources  # imports the modules of the kinds that are named

    told = [{key: value for key, value in source.items() if key not in CLUSTER_SOURCE_SETTINGS} for source in listed]
    return read_sources(told, origin, beside=CLUSTER_SOURCE_SETTINGS)[1]


def read_yaml(file: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        ConfigError: When there is none.
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
            [Fault(origin=str(file), path="", message="must hold settings, `name: ...`")], hint="eaves init"
        )
    return values
