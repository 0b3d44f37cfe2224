"""Collection of images for `eaves init --from-source`: parses the source on the command line and reads it."""

from __future__ import annotations

import os
import re
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eaves.base.disk_errors import disk_errors
from eaves.cli.app.project import Workspace, read_yaml
from eaves.cli.app.sources import resolve_sources
from eaves.cli.display.collection_progress import CollectionProgress
from eaves.cli.display.output import progress, say
from eaves.credentials.redact import has_secrets
from eaves.errors import ConfigError, Fault, StoppedError
from eaves.http_client.proxies import parse_proxies
from eaves.platform import SourceSpec
from knative.specs import CLUSTER_SOURCE_SETTINGS

ORIGIN = "--from-source"
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,31}")
"""Pattern of a URI's scheme in lower case. Source: RFC 3986, section 3.1."""
DEFAULT_NAME = "camera"
UNSORTED = "-unsorted"
"""Ending of the folder of collected images: images for `data` are collected into `data-unsorted` beside it."""


def parse_source(text: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Parse a source on the command line into settings as eaves.yaml holds them, and check them.

    Args:
        text: A URL (http, https, mqtt, mqtts), the path of a folder, the path of a YAML file with the settings, or the
            settings themselves in YAML.
        options: Name of a setting to its value; settings that are None are left out.

    Raises:
        ConfigError: When the settings have faults; it holds all of them.
    """
    from eaves.sources.agent.configuration import read_source

    values = {"name": DEFAULT_NAME, **_parse_text(text)}
    values |= {name: value for name, value in options.items() if value is not None}
    own = {name: value for name, value in values.items() if name not in CLUSTER_SOURCE_SETTINGS}
    _, faults = read_source(own, ORIGIN, "")
    if faults:
        raise ConfigError(
            faults, hint="eaves init --from-source http://camera.example/snapshot.jpg --crop 0.2,0.1,0.6,0.8"
        )
    return values


def _parse_text(text: str) -> dict[str, Any]:
    from eaves.config.yaml_text import load_yaml

    scheme = text.partition("://")[0].lower()
    if scheme in {"http", "https"}:
        return {"kind": "http", "url": text}
    if scheme in {"mqtt", "mqtts"}:
        return {"kind": "mqtt", "url": text}
    path = Path(text)
    if "{" not in text and path.is_dir():
        return {"kind": "folder", "path": str(path.absolute())}
    if "{" not in text and path.suffix in {".yaml", ".yml"}:
        return read_yaml(path)
    try:
        values = load_yaml(text)
    except ValueError:
        values = None
    if not isinstance(values, dict):
        message = "must be a URL, a folder, a .yaml file, or a mapping such as {kind: http, url: ...}"
        if _SCHEME.fullmatch(scheme) and "://" in text:
            message = f"{scheme}:// isn't supported yet; a URL starts with http://, https://, mqtt:// or mqtts://"
        raise ConfigError([Fault(origin=ORIGIN, path="", message=message)])  # without the text: it may hold a password
    return {str(name): value for name, value in values.items()}


def is_same_source(workspace: Workspace, values: Mapping[str, Any]) -> bool:
    """Return whether eaves.yaml already has a source with exactly these settings.

    The collection from that source is then continued.
    """
    import yaml

    from eaves.config.yaml_text import load_yaml

    written = load_yaml(yaml.safe_dump(dict(values)))  # in eaves.yaml every number is a text
    return written in (workspace.values.get("sources") or [])


def _guest_settings(spec: SourceSpec, workspace: Workspace) -> dict[str, Any]:
    """Return MQTT settings with which a collection doesn't disturb an agent that reads the same source; else none.

    An MQTT broker disconnects a client when another one connects with its client id, and keeps messages for the session
    of a known client id. So the collection has a random client id, and its session expires after a minute.
    """
    if spec.kind != "mqtt":
        return {}
    name = f"eaves-init-{workspace.project.site}-{spec.name}-{secrets.token_hex(4)}"
    return {"client_id": name, "session_expiry_s": 60}


def holds_secrets(values: Mapping[str, Any]) -> bool:
    """Return whether an address among a source's settings holds a password or token."""
    return any(has_secrets(str(value)) for value in values.values())


def collect_images(workspace: Workspace, name: str, wanted: int) -> Path:
    """Collect images from a source of eaves.yaml into a folder beside the labelled images, which training doesn't read.

    Args:
        workspace: The project.
        name: Name of the source.
        wanted: Number of images that the folder holds at the end.

    Returns:
        Path of the folder with the collected images.

    Raises:
        StoppedError: When the user stopped the collection before all images were collected.
        ConfigError: When the source has faults.
    """
    from eaves.sources.agent.configuration import read_source
    from eaves.sources.agent.counters import SourceCounters
    from eaves.sources.collecting.images import CollectedImages
    from eaves.sources.collecting.run import collect

    spec = next(source for source in resolve_sources(workspace) if source.name == name)
    configured, faults = read_source({**spec.settings, **_guest_settings(spec, workspace)}, workspace.origin, "")
    if configured is None:
        raise ConfigError(faults)
    labelled = workspace.path(Path(workspace.project.data.path)).absolute()
    labelled = Path(os.path.normpath(labelled))  # else `.` has no name and `..` a wrong one
    unsorted = labelled.parent / f"{labelled.name}{UNSORTED}"
    with disk_errors(unsorted):
        images = CollectedImages(unsorted, labelled)
    reasons: list[str] = []
    on_terminal = sys.stderr.isatty()
    lines = CollectionProgress(
        name,
        wanted,
        kind=spec.kind,
        lines=not on_terminal,
        report=lambda line: say(f"\n{line}" if on_terminal else line),  # below the bar
    )
    with progress(f"collecting {wanted} images", wanted) as bar:

        def watch(counters: SourceCounters) -> None:
            bar.update(min(len(images), wanted) - bar.pos)
            lines.update(len(images), counters)
            if counters.reason != (reasons[-1] if reasons else "not started"):
                reasons.append(counters.reason)
                if counters.reason:
                    say(f"\n{name} is {counters.state}: {counters.reason}")

        try:
            collect(
                configured,
                images,
                site=workspace.project.site,
                wanted=wanted,
                proxies=parse_proxies(os.environ),
                watch=watch,
            )
        except KeyboardInterrupt:
            message = f"stopped: {len(images)} of {wanted} images are in {unsorted}"
            raise StoppedError(message, hint="run the same command again to collect the other images") from None
    return unsorted
