"""Sources of eaves.yaml on a cluster: the workload of each source, its agent's settings, and its addresses."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from eaves.credentials.redact import has_secrets
from eaves.errors import EavesError, NotFoundError
from eaves.sources.agent.configuration import ConfiguredSource, read_source
from eaves.sources.agent.kinds import load_kind
from eaves.sources.settings import SourceSettings
from knative.resources.fields.credentials import FOLDER
from knative.specs import ClusterSource

IMAGES = "/images"
"""Mount path of the folder that an agent reads."""
CREDENTIALS = "credentials"
ARCHIVES = frozenset({".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz"})
"""Suffixes of archives' file names (in upper or lower case). A source of kind `replay` reads an archive if its path has
one of them, and else a folder."""


class SourceRunner(enum.StrEnum):
    """Kind of the workload that runs a source (`eaves.sources.kind.SourceKind.runs_as`)."""

    CLAIM = "claim"
    NODE = "node"
    READER = "reader"
    SERVICE = "service"


def find_runner(source: ClusterSource) -> SourceRunner:
    """Return the kind of workload for a source: the one in eaves.yaml, or the one that suits the source's kind best.

    Rendering reports a source whose kind isn't installed here (`knative.render.faults`). Before that, this function
    returns `SERVICE` for such a source.
    """
    try:
        return SourceRunner(source.agent or load_kind(source.kind).runs_as[0])
    except (NotFoundError, ValueError):
        return SourceRunner.SERVICE


def source_values(source: ClusterSource) -> dict[str, Any]:
    """Build the settings that a source's agent gets in a pod, with the mount paths of its volume and its Secret."""
    values = source.settings
    if find_runner(source) is not SourceRunner.SERVICE:
        values |= {"path": _path_in_pod(source)}
    if source.secret:
        values[CREDENTIALS] = FOLDER
    return values


def _path_in_pod(source: ClusterSource) -> str:
    """Return the path that a source watches in the pod: the root of the volume, or an archive in it."""
    path = PurePath(str(source.options.get("path", "")))
    return f"{IMAGES}/{path.name}" if source.kind == "replay" and path.suffix.lower() in ARCHIVES else IMAGES


def source_addresses(source: ClusterSource) -> Iterator[str]:
    """Yield the addresses of a source, `HOST:PORT` or `tls://HOST:PORT`; none while its settings have faults."""
    configured = _configure(source)
    if configured is not None:
        yield from configured.kind.addresses(configured.settings)


def largest_image(source: ClusterSource) -> int:
    """Return the bytes of the largest image that a source captures; the default while its settings have faults."""
    configured = _configure(source)
    return (configured.common if configured is not None else SourceSettings()).max_bytes


def _configure(source: ClusterSource) -> ConfiguredSource | None:
    """Parse a source's settings the way its agent does; return None while they have faults."""
    try:
        configured, _ = read_source(source_values(source), "eaves.yaml", "")
    except EavesError:
        return None
    return configured


def find_secrets(values: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Yield the path of each setting whose value is an address with a password or token."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from find_secrets(value, f"{path}{name}.")
        elif isinstance(value, str) and has_secrets(value):
            yield f"{path}{name}"
