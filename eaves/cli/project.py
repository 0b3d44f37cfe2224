"""The project: eaves.yaml, made of the sections of all packages, sources in words, the newest run and artifact."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from converters.settings import ConvertSettings, PipelineSettings
from eaves.base.names import NAME
from eaves.config import SettingsLayer, build, env_layer, flag_layer, setting
from eaves.config.yaml_text import load_yaml
from eaves.delivery.sinks import DATASET
from eaves.errors import ConfigError
from eaves.platform import RELAY, ChooseSpec, RelaySpec, ScaleSettings, SourceSpec, TriggerSpec
from eaves.platform.app import CLOUD, EDGE, FUNCTION
from eaves.rollout import RolloutSettings
from eaves.sources.kind import iter_kinds, parse_place
from functions.settings import ServeSettings
from functions.url_policy import find_url_fault
from knative.settings import JobSettings, KnativeSettings, SiteSettings
from trainer.settings import DataSettings, RetrainSettings, TrainSettings

if TYPE_CHECKING:
    from eaves.sources.agent.configuration import ConfiguredSource


ARTIFACTS = "artifacts"
"""Name of the folder beside eaves.yaml that conversions write artifacts into."""
DEFAULT_SOURCE_NAME = "camera"
"""Name of a source that is given as an address or a path."""
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,31}")
"""Pattern of a URI's scheme in lower case. Source: RFC 3986, section 3.1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectSource(SourceSpec):
    """A source in eaves.yaml; which settings it may have depends on its kind."""

    def faults(self) -> Iterator[tuple[str, str]]:
        """Return path and message of each fault, also of the settings of the source's kind."""
        try:
            self.configure()
        except ConfigError as error:
            yield from ((fault.path, fault.message) for fault in error.faults if fault.path != "name")

    def configure(self) -> ConfiguredSource:
        """Parse the source's settings the way its agent does.

        Raises:
            ConfigError: When the settings have faults.
        """
        from eaves.sources.agent.configuration import read_source  # imports the module of the kind

        beside = [one.name for one in fields(SourceSpec)]
        configured, faults = read_source(self.settings, "eaves.yaml", "", beside=beside)
        if configured is None:
            raise ConfigError(faults)
        return configured


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """The settings in one eaves.yaml: one model, its function, and the sources that feed the function."""

    name: str = setting("images", "Name of the model, the function and their directories; a DNS label.", form=NAME)
    site: str = setting("home", "Name of this place; the source of every event is /eaves/SITE/NAME.", form=NAME)
    data: DataSettings = setting(DataSettings, "Labelled images that the model is trained on; not needed to deploy.")
    train: TrainSettings = setting(TrainSettings, "Training of the model.")
    convert: ConvertSettings = setting(ConvertSettings, "Conversion of a run to an artifact.")
    function: ServeSettings = setting(ServeSettings, "Predictions of the function, and its limits.")
    scale: ScaleSettings = setting(ScaleSettings, "Number of the function's replicas, and when they start and stop.")
    triggers: tuple[TriggerSpec, ...] = setting(
        (), "Further destinations of events; captured images reach the function without a trigger."
    )
    sources: tuple[ProjectSource, ...] = setting((), "Sources, which turn images into events.")
    relay: RelaySpec = setting(
        RelaySpec, "Relay, which forwards predictions to a receiver over a network link that may fail."
    )
    choose: ChooseSpec = setting(
        ChooseSpec,
        "Choice of images for labelling, in agents that ask the function themselves. They go over the link if "
        "`relay.images` is `chosen`, or stay on this machine if `here` is true; if neither, none is chosen.",
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
        PipelineSettings, "Quality that a model must reach before a pipeline publishes it, or a page deploys it."
    )
    retrain: RetrainSettings = setting(RetrainSettings, "Trainings that `eaves up` starts by itself.")
    rollout: RolloutSettings = setting(RolloutSettings, "Rollout of a new revision, or of a canary.")
    sites: tuple[SiteSettings, ...] = setting(
        (), "Sites, which are edge places in clusters; when none is listed, `site` names the only one."
    )

    def faults(self) -> Iterator[tuple[str, str]]:
        """Return path and message of each violated rule that concerns several settings."""
        if self.name in [trigger.name for trigger in self.triggers]:
            yield "triggers", f"the name {self.name!r} is reserved for the trigger that feeds the function"
        if sum(trigger.mqtt.home_assistant for trigger in self.triggers) > 1:
            yield "triggers", "home_assistant is set for more than one trigger; each camera would appear twice"
        if self.through == CLOUD and not self.relay.enabled:
            yield "through", "`cloud` needs relay.to, the address of the receiver in front of the function in the cloud"
        for path, named in (("triggers", self.triggers), ("sources", self.sources), ("sites", self.sites)):
            names = [one.name for one in named]
            for twice in sorted({name for name in names if names.count(name) > 1}):
                yield path, f"two {path} have the name {twice!r}"
            if self.relay.enabled and path != "sites" and RELAY in names:
                yield path, f"the name {RELAY!r} is reserved for the relay"
            if self.choose.here and path == "triggers" and DATASET in names:
                yield path, f"the name {DATASET!r} is reserved for the folder of labelled images"
        hosts, schemes = self.function.dataref_hosts, self.function.dataref_schemes
        for source in self.sources:
            location = source.configure().claims.location()
            if location is None or (source.through == FUNCTION and self.through == EDGE):
                continue  # the function gets the data
            if fault := find_url_fault(location.base_url, hosts=hosts, schemes=schemes):
                images = f"images of the source {source.name} at {location.base_url}"
                yield "function.dataref_hosts", f"the function would refuse {images}: {fault}"


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
    def data(self) -> DataSettings:
        """The labelled images, with a path from the working directory; a URI stays as it is."""
        data = self.project.data
        return data if "://" in str(data.path) else replace(data, path=self.path(Path(data.path)))

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
    return Workspace(root=file.absolute().parent, project=build(Project, *layers), origin=file.name, values=values)


def build_default_project() -> Project:
    """Build a project without a name and with one site, for commands on clusters where there is no eaves.yaml."""
    project = build(Project, SettingsLayer(origin="", values={"data": {"path": ""}}))
    return replace(project, name="", sites=(SiteSettings(name="here"),))


def read_yaml(file: Path) -> dict[str, Any]:
    """Load the mapping in a YAML file.

    Raises:
        ConfigError: When the file is missing, can't be read, or holds no mapping.
    """
    try:
        values = load_yaml(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError.single(str(file), "", "no such file", hint="eaves init") from error
    except (OSError, ValueError) as error:
        raise ConfigError.single(str(file), "", f"can't be read: {error}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError.single(str(file), "", "must hold settings, such as `name: flowers`", hint="eaves init")
    return values


def parse_source(text: str, options: Mapping[str, Any], *, origin: str, hint: str) -> dict[str, Any]:
    """Parse a source on the command line into settings as eaves.yaml holds them, and check them.

    Args:
        text: A URL, the path of a folder, an archive, a video file or a device, the path of a YAML file with the
            settings, or the settings themselves in YAML.
        options: Name of a setting to its value; settings that are None are left out.
        origin: Name of the option or argument, for faults.
        hint: Command that the error about faults shows.

    Raises:
        ConfigError: When the settings have faults; it holds all of them.
    """
    values = {"name": DEFAULT_SOURCE_NAME, **_parse_text(text, origin)}
    values |= {name: value for name, value in options.items() if value is not None}
    try:
        build(ProjectSource, SettingsLayer(origin=origin, values=values))
    except ConfigError as error:
        raise ConfigError(error.faults, hint=hint) from None
    return values


def _parse_text(text: str, origin: str) -> dict[str, Any]:
    if (place := parse_place(text)) is not None:
        return place
    path = Path(text)
    if "{" not in text and path.suffix in {".yaml", ".yml"}:
        return read_yaml(path)
    try:
        values = load_yaml(text)
    except ValueError:
        values = None
    if not isinstance(values, dict):
        message = "must be a URL, a folder, a video, a .yaml file, or a mapping such as {kind: http, url: ...}"
        scheme = text.partition("://")[0].lower()
        if _SCHEME.fullmatch(scheme) and "://" in text:
            known = [f"{one}://" for _, kind in iter_kinds() for one in kind.schemes]
            message = f"{scheme}:// isn't supported; a URL starts with {', '.join(known)}"
        raise ConfigError.single(origin, "", message)  # without the text: it may hold a password
    return {str(name): value for name, value in values.items()}


LATEST = "latest"
RUN, ARTIFACT = "run.json", "manifest.json"
"""Names of the files that are written last into a run and into an artifact. A directory that has its file is
complete."""


def newest(folder: Path, marker: str) -> Path | None:
    """Return the newest directory below `folder` that holds the marker file; None when there is none.

    Hidden directories are ignored, because unfinished runs and artifacts are built in them, and so are links.

    Args:
        folder: Path of the folder with runs or artifacts.
        marker: `RUN` or `ARTIFACT`.
    """
    found = [path for path in folder.glob(f"[!.]*/{marker}") if not path.parent.is_symlink()]
    return max(found, key=lambda path: (path.stat().st_mtime_ns, path.parent.name)).parent if found else None


def update_latest(folder: Path, marker: str) -> None:
    """Make `latest` in a folder point to the directory that was finished last, in one step.

    What a person has given this name is left alone: a file, a folder, or a link to another place.

    Args:
        folder: Path of the folder with runs or artifacts.
        marker: `RUN` or `ARTIFACT`.
    """
    name, target = folder / LATEST, newest(folder, marker)
    is_link = name.is_symlink()
    if target is None or (name.exists() and not is_link) or (is_link and len(name.readlink().parts) != 1):
        return
    staging = folder / f".{LATEST}.{os.urandom(6).hex()}.tmp"
    with contextlib.suppress(OSError):  # a file system without symbolic links
        staging.symlink_to(target.name)
        staging.rename(name)


def find_latest(path: Path) -> Path:
    """Return the directory that a link named `latest` points to, whose name people know; any other path as it is."""
    return path.parent / path.readlink() if path.name == LATEST and path.is_symlink() else path


def refuse_latest(path: Path, origin: str) -> None:
    """Refuse to write a new run or artifact into a directory named `latest`, the name of the link to the newest.

    Args:
        path: Directory that a run or an artifact is to be written into.
        origin: Flag that names the directory, for the message.

    Raises:
        ConfigError: When the directory is named `latest`.
    """
    if path.name == LATEST:
        message = f"{LATEST} is reserved for the link to the newest directory; name another directory"
        raise ConfigError.single(origin, "", message)


ANY_PATH = click.Path(path_type=Path)
DIRECTORY = click.Path(path_type=Path, file_okay=False)
FILE_PATH = click.Path(path_type=Path, dir_okay=False)
EXISTING_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)
"""Types of options whose values are paths, as the shell has them."""


class ModelPath(click.Path):
    """The path of a run, an artifact or a model file on the command line; `latest` becomes the directory it names."""

    def __init__(self, **options: Any) -> None:
        super().__init__(path_type=Path, **options)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Replace `latest` by the directory that it stands for, and check the path as `click.Path` does."""
        return super().convert(find_latest(Path(os.fsdecode(value))), param, ctx)
