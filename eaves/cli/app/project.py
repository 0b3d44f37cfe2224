"""eaves.yaml: the rooms' sections composed into one file, read and written."""

from __future__ import annotations

import dataclasses
import os
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from converters.gate.settings import PipelineSettings
from converters.settings import ConvertSettings
from eaves.base.names import NAME_PATTERN
from eaves.config import SettingsLayer, build, env_layer, flag_layer, iter_leaves, setting
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

    name: str = setting("images", "Of the model, the function and their directories; a DNS label.")
    site: str = setting("home", "Name of this place, in every event's source: /eaves/SITE/NAME.")
    data: DataSettings = setting(DataSettings, "The labelled images.")
    train: TrainSettings = setting(TrainSettings, "How the model is trained.")
    convert: ConvertSettings = setting(ConvertSettings, "How a run becomes an artifact.")
    function: ServeSettings = setting(ServeSettings, "How the function serves.")
    scale: ScaleSettings = setting(ScaleSettings, "How many replicas the function has.")
    triggers: tuple[ClusterTrigger, ...] = setting(
        (), "More ways for events to go; captured images reach the function anyway."
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
    knative: KnativeSettings = setting(KnativeSettings, "How all of it stands in a cluster.")
    job: JobSettings = setting(JobSettings, "How training runs in a cluster.")
    pipeline: PipelineSettings = setting(PipelineSettings, "When a pipeline publishes the model that it made.")
    rollout: RolloutSettings = setting(RolloutSettings, "How a new revision takes over in a cluster.")
    sites: tuple[SiteSettings, ...] = setting((), "The clusters' edge places; none: `site` is the one, here.")

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


def load_workspace(file: Path, flags: dict[str, Any] | None = None, *, section: str = "") -> Workspace:
    """Read eaves.yaml, then the environment, then flags.

    Args:
        file: The file.
        flags: Dotted path to value, `train.epochs`.
        section: `train.` when the flags name its settings without it.

    Raises:
        ConfigError: When it is missing, not YAML, or has faults; all of them together.
    """
    values = read_yaml(file)
    layers = [
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


def write_project(*, name: str, data: str, sources: Sequence[Mapping[str, Any]] = ()) -> str:
    """The text of a new eaves.yaml: every setting with its text, those at their defaults commented out.

    Args:
        name: Of the model and the function.
        data: Folder of the labelled images.
        sources: What turns images into events; none: an example in a comment.
    """
    lines = ["# eaves.yaml: one model, one function, and what feeds it. Lines that start with '#' are the defaults."]
    lines += ["", "# " + _doc("name"), f"name: {name}", "# " + _doc("site"), "#site: home"]
    lines += [*_wrap(_doc("through"), "# "), f"#through: {EDGE}"]
    for section in ("data", "train", "convert", "function", "scale", "relay", "knative", "job", "pipeline", "rollout"):
        kind = next(f.type for f in dataclasses.fields(Project) if f.name == section)
        lines += ["", f"# {_doc(section)}", f"{section}:"]
        lines += _section_lines(_SECTIONS[str(kind)], {"path": data} if section == "data" else {})
    lines += ["", _source_lines(sources) if sources else _SOURCES_EXAMPLE, _EXAMPLES]
    return "\n".join(lines)


_SECTIONS = {
    cls.__name__: cls
    for cls in (
        DataSettings, TrainSettings, ConvertSettings, ServeSettings, ScaleSettings, ClusterRelay, KnativeSettings,
        JobSettings, PipelineSettings, RolloutSettings,
    )
}  # fmt: skip
_SOURCES_EXAMPLE = """\
# What turns images into events: every image file that appears in a folder, for instance.
#sources:
#  - name: inbox
#    kind: folder
#    path: inbox
"""
_EXAMPLES = """\
# More ways for events to go. A filter names event attributes; label, confidence and model are among a prediction's.
# What is at the url must answer 2xx with an empty body (or with a CloudEvent), else it gets the event again.
#triggers:
#  - name: alarm
#    filter: {type: dev.eaves.image.classified.v1, confidence: high}
#    url: http://127.0.0.1:9000/
#  - name: hub
#    filter: {type: dev.eaves.image.classified.v1}
#    url: mqtt://127.0.0.1/plant/{partitionkey}/{label}
#    mqtt: {format: json, home_assistant: true}

# Edge places in clusters, each a kube context and a namespace: `eaves deploy --on knative --site barn`, or --all.
#sites:
#  - name: barn
#    context: barn
#    namespace: eaves
"""


def _doc(name: str) -> str:
    return str(next(f.metadata["doc"] for f in dataclasses.fields(Project) if f.name == name))


def _source_lines(sources: Sequence[Mapping[str, Any]]) -> str:
    text = yaml.safe_dump([dict(one) for one in sources], sort_keys=False, allow_unicode=True, width=10_000)
    return "# What turns images into events.\nsources:\n" + textwrap.indent(text, "  ")


def _section_lines(cls: type, given: dict[str, str]) -> list[str]:
    lines = []
    for leaf in iter_leaves(cls):
        choices = f" One of {', '.join(leaf.choices)}." if leaf.choices else ""
        lines += _wrap(leaf.doc + choices, "  # ")
        if leaf.path in given:
            lines.append(f"  {leaf.path}: {_inline(given[leaf.path])}")
        else:
            lines.append(f"  #{leaf.path}: {_inline(_plain(leaf.default))}")
    return lines


def _wrap(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, 112, initial_indent=indent, subsequent_indent=indent)


def _plain(default: Any) -> Any:
    """A setting's default as YAML has it."""
    if isinstance(default, tuple):
        return list(default)
    return default if default is None or isinstance(default, (int, float)) else str(default)


def _inline(value: Any) -> str:
    """A value as YAML on one line."""
    return str(yaml.safe_dump(value, default_flow_style=True, width=10_000)).splitlines()[0]
