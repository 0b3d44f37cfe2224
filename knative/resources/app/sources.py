"""Sources of eaves.yaml as a cluster sees them: what runs each, what its agent is told, what it connects to."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from eaves.credentials import has_secrets
from eaves.errors import EavesError, NotFoundError
from eaves.sources.agent.configuration import ConfiguredSource, read_source
from eaves.sources.agent.kinds import load_kind
from eaves.sources.settings import SourceSettings
from knative.resources.fields.credentials import FOLDER
from knative.specs import ClusterSource

IMAGES = "/images"
"""Where an agent sees the folder that it reads."""
CREDENTIALS = "credentials"
ARCHIVES = frozenset({".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz"})
"""Ends of names, in any case of letters, by which a source of kind `replay` tells an archive from a folder."""


class SourceRunner(enum.StrEnum):
    """What runs a source: `eaves.sources.kind.SourceKind.runs_as`."""

    CLAIM = "claim"
    NODE = "node"
    READER = "reader"
    SERVICE = "service"


def find_runner(source: ClusterSource) -> SourceRunner:
    """What runs a source: as eaves.yaml says, or what fits its kind best.

    A kind that isn't installed here is a fault that rendering tells (`knative.render.faults`); for whoever looks at an
    app in spite of it, such a source is a service.
    """
    try:
        return SourceRunner(source.agent or load_kind(source.kind).runs_as[0])
    except (NotFoundError, ValueError):
        return SourceRunner.SERVICE


def source_values(source: ClusterSource) -> dict[str, Any]:
    """What the agent in a pod is told of its source: its folder is a volume there, its Secret a folder."""
    values = source.settings
    if find_runner(source) is not SourceRunner.SERVICE:
        values |= {"path": _path_in_pod(source)}
    if source.secret:
        values[CREDENTIALS] = FOLDER
    return values


def _path_in_pod(source: ClusterSource) -> str:
    """The root of the volume, or the archive of that name in it."""
    path = PurePath(str(source.options.get("path", "")))
    return f"{IMAGES}/{path.name}" if source.kind == "replay" and path.suffix.lower() in ARCHIVES else IMAGES


def source_addresses(source: ClusterSource) -> Iterator[str]:
    """`HOST:PORT`, or `tls://HOST:PORT`, of what a source connects to; none while its settings have faults."""
    configured = _configure(source)
    if configured is not None:
        yield from configured.kind.addresses(configured.settings)


def largest_image(source: ClusterSource) -> int:
    """Bytes of the largest image that a source captures; the default while its settings have faults."""
    configured = _configure(source)
    return (configured.common if configured is not None else SourceSettings()).max_bytes


def _configure(source: ClusterSource) -> ConfiguredSource | None:
    """A source's settings as its agent reads them; None while they have faults."""
    try:
        configured, _ = read_source(source_values(source), "eaves.yaml", "")
    except EavesError:
        return None
    return configured


def find_secrets(values: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Paths of settings that hold an address with a password or token in it."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from find_secrets(value, f"{path}{name}.")
        elif isinstance(value, str) and has_secrets(value):
            yield f"{path}{name}"
