"""What `eaves sources try` adds to a trial: the source, the file of the image, and whether the function takes it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eaves.base.files import write_atomically
from eaves.cli.app import resolve_sources
from eaves.cli.output import say
from eaves.cli.project import Workspace, load_workspace, parse_source
from eaves.errors import ConfigError, Fault, ImageError, NotFoundError
from eaves.events import DATAREF, IMAGE_CAPTURED
from eaves.images.decoder import load
from eaves.sources.agent.configuration import ConfiguredSource, read_source
from eaves.sources.camera.kind import lacks_scheme
from eaves.sources.trial.address import find_guest_settings, parse_place
from functions.fetch.url_policy import find_url_fault
from functions.settings import ServeSettings
from knative.specs import CLUSTER_SOURCE_SETTINGS

if TYPE_CHECKING:
    from eaves.events import Event
    from eaves.sources.trial.trial import SourceTrial

ORIGIN = "NAME|URL"
EXAMPLE = "eaves sources try rtsp://camera.example/stream1"
DEFAULT_SITE = "home"
SUFFIXES = {"image/png": ".png", "image/webp": ".webp", "image/bmp": ".bmp", "image/tiff": ".tif", "image/gif": ".gif"}
IN_FILES = ("folder", "replay")
"""Kinds of sources whose images are files already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedSource:
    """A source to try.

    Attributes:
        configured: Source with valid settings.
        as_camera: The same address as a source of the kind `camera`, for a source of the kind `http` on the command
            line; else None.
        site: Name of the site.
        function: Settings of the function that would get its images.
        by_default: Whether these are the defaults, because there is no eaves.yaml.
    """

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
    sources = workspace.project.sources if workspace else ()
    chosen = {"credentials": str(credentials.absolute())} if credentials else {}
    if workspace is not None and (one := tuple(source for source in sources if source.name == text)):
        # faults of other sources don't matter
        (spec,) = resolve_sources(replace(workspace, project=replace(workspace.project, sources=one)))
        return _build({**spec.settings, **chosen}, workspace, origin=workspace.origin)
    if is_place:
        values = parse_source(text, chosen, origin=ORIGIN, hint=EXAMPLE)
        own = {name: value for name, value in values.items() if name not in CLUSTER_SOURCE_SETTINGS}
        return _build(own, workspace, origin=ORIGIN)
    if lacks_scheme(text):
        address = text.rpartition("@")[2]  # without a user and a password
        message = f"{address[:80]!r} has no protocol in front of it"
        raise NotFoundError(message, hint=f"eaves sources try rtsp://{address[:80]}")
    names = ", ".join(source.name for source in sources)
    have = f"{file.name} has the sources {names}" if names else f"{file.name} has no sources"
    raise NotFoundError(f"there is no source, folder or video named {text[:80]!r}; {have}", hint=EXAMPLE)


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


def _build(values: Mapping[str, Any], workspace: Workspace | None, *, origin: str) -> TriedSource:
    site = workspace.project.site if workspace else DEFAULT_SITE
    guest = find_guest_settings(values, command="try", site=site)
    configured, faults = read_source({**values, **guest}, origin, "")
    if configured is None:
        raise ConfigError(faults)
    as_camera = None
    if values.get("kind") == "http" and origin == ORIGIN:
        options = {name: value for name, value in values.items() if name != "timeout_s"}
        as_camera = read_source({**options, "kind": "camera"}, origin, "")[0]
    return TriedSource(
        configured=configured,
        as_camera=as_camera,
        site=site,
        function=workspace.project.function if workspace else ServeSettings(),
        by_default=workspace is None,
    )


def save_image(trial: SourceTrial, settings: Any, target: Path | None) -> tuple[Path, bool] | None:
    """Write the image of a trial to a file, and return its path and whether it replaced one; None when it writes none.

    Without a target the file is a new one in the current folder, and the image of a folder or archive isn't written.

    Raises:
        ConfigError: When the target is in the folder that the source watches, so that it would become an event.
        OSError: When the file can't be written.
    """
    event = trial.event
    if event is None or not event.data or (target is None and trial.kind in IN_FILES):
        return None
    if target is None:
        suffix = SUFFIXES.get(event.datacontenttype or "", ".jpg")
        names = (f"{trial.name}{f'-{number}' if number > 1 else ''}{suffix}" for number in itertools.count(1))
        target = next(Path(name) for name in names if not Path(name).exists())
    if trial.kind == "folder" and target.absolute().is_relative_to(Path(settings.path).absolute()):
        message = f"must not be in the folder that the source watches (got {target})"
        raise ConfigError([Fault(origin="--save", path="", message=message)])
    replaced = target.exists()
    write_atomically(target, event.data, durability="none", mode=None)
    return target, replaced


def find_refusal(event: Event, settings: ServeSettings) -> str:
    """Return why a function with these settings would refuse an event; empty when it would take it."""
    if settings.accept_types and IMAGE_CAPTURED not in settings.accept_types:
        return f"function.accept_types doesn't contain {IMAGE_CAPTURED}"
    if not event.data:
        reference = event.extensions.get(DATAREF, "")
        return find_url_fault(reference, hosts=settings.dataref_hosts, schemes=settings.dataref_schemes)
    if len(event.data) > settings.max_body_bytes:
        return f"it has {len(event.data)} bytes, more than function.max_body_bytes ({settings.max_body_bytes})"
    try:
        load(event.data, at_least=(1, 1), max_pixels=settings.max_pixels)
    except ImageError as error:
        return error.message
    return ""
