"""The source that `eaves sources try` is given: one of eaves.yaml by its name, or a source on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from eaves.cli.app.project import Workspace, load_workspace
from eaves.cli.app.source_argument import parse_source
from eaves.cli.app.sources import resolve_sources
from eaves.cli.display.output import say
from eaves.errors import ConfigError, NotFoundError
from eaves.sources.agent.configuration import ConfiguredSource, read_source
from eaves.sources.camera.kind import lacks_scheme
from eaves.sources.trial.address import parse_place
from eaves.sources.trial.guest import find_guest_settings
from functions.settings import ServeSettings
from knative.specs import CLUSTER_SOURCE_SETTINGS

ORIGIN = "NAME|URL"
EXAMPLE = "eaves sources try rtsp://camera.example/stream1"
DEFAULT_SITE = "home"


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedSource:
    """A source to try.

    Attributes:
        name: Name of the source.
        configured: Source with valid settings.
        as_camera: The same address as a source of the kind `camera`, for a source of the kind `http` on the command
            line; else None.
        site: Name of the site.
        function: Settings of the function that would get its images.
        by_default: Whether these are the defaults, because there is no eaves.yaml.
    """

    name: str
    configured: ConfiguredSource
    as_camera: ConfiguredSource | None
    site: str
    function: ServeSettings
    by_default: bool


def find_tried_source(text: str, file: Path, *, credentials: Path | None) -> TriedSource:
    """Return the source to try.

    Args:
        text: Name of a source in eaves.yaml, or an address, path or mapping.
        file: Path of eaves.yaml, which need not exist for an address.
        credentials: Folder of the credentials, in place of the source's own; None to use these.

    Raises:
        ConfigError: When eaves.yaml or the source's settings have faults.
        NotFoundError: When the text is none of these.
    """
    is_place = "://" in text or "{" in text or text.endswith((".yaml", ".yml")) or parse_place(text) is not None
    workspace = _load(file, needed=not is_place)
    names = [source.name for source in workspace.project.sources] if workspace else []
    chosen = {"credentials": str(credentials.absolute())} if credentials else {}
    if workspace is not None and text in names:
        values = {**_resolve(workspace, text), **chosen}
        return _build(values, workspace, origin=workspace.origin)
    if not is_place:
        have = f"{file.name} has the sources {', '.join(names)}" if names else f"{file.name} has no sources"
        if lacks_scheme(text):
            address = text.rpartition("@")[2]  # without a user and a password
            message = f"{address[:80]!r} has no protocol in front of it"
            raise NotFoundError(message, hint=f"eaves sources try rtsp://{address[:80]}")
        raise NotFoundError(f"there is no source, folder or video named {text[:80]!r}; {have}", hint=EXAMPLE)
    values = parse_source(text, chosen, origin=ORIGIN, hint=EXAMPLE)
    own = {name: value for name, value in values.items() if name not in CLUSTER_SOURCE_SETTINGS}
    return _build(own, workspace, origin=ORIGIN)


def _load(file: Path, *, needed: bool) -> Workspace | None:
    """Load eaves.yaml; None when it is missing, and when it has faults and isn't needed."""
    if not file.exists():
        return None
    try:
        return load_workspace(file)
    except ConfigError as error:
        if needed:
            raise
        say(f"warning: {file} is not used, because it has faults: {error.faults[0]}")
        return None


def _resolve(workspace: Workspace, name: str) -> dict[str, Any]:
    """Return the settings of one source in eaves.yaml; faults of other sources don't matter."""
    one = tuple(source for source in workspace.project.sources if source.name == name)
    (spec,) = resolve_sources(replace(workspace, project=replace(workspace.project, sources=one)))
    return spec.settings


def _build(values: Mapping[str, Any], workspace: Workspace | None, *, origin: str) -> TriedSource:
    site = workspace.project.site if workspace else DEFAULT_SITE
    guest = find_guest_settings(values, command="try", site=site)
    configured, faults = read_source({**values, **guest}, origin, "")
    if configured is None:
        raise ConfigError(faults)
    return TriedSource(
        name=configured.common.name,
        configured=configured,
        as_camera=_read_as_camera(values, origin) if values.get("kind") == "http" and origin == ORIGIN else None,
        site=site,
        function=workspace.project.function if workspace else ServeSettings(),
        by_default=workspace is None,
    )


def _read_as_camera(values: Mapping[str, Any], origin: str) -> ConfiguredSource | None:
    options = {name: value for name, value in values.items() if name not in {"timeout_s", "kind"}}
    return read_source({**options, "kind": "camera"}, origin, "")[0]
