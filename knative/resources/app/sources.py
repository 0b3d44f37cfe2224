"""Sources of eaves.yaml on a cluster: the workload of each source, its agent's settings, and its addresses."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from eaves.credentials.redact import has_secrets
from eaves.errors import EavesError, NotFoundError
from eaves.sources.agent.configuration import ConfiguredSource, read_source
from eaves.sources.kind import AnyKind, load_kind
from eaves.sources.settings import SourceSettings
from knative.resources.fields.credentials import FOLDER
from knative.resources.fields.node_inputs import FOLDER as IMAGES
from knative.resources.fields.node_inputs import find_path_in_pod
from knative.specs import ClusterSource

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
    kind = _find_kind(source)
    if kind is None:
        return SourceRunner.SERVICE
    try:
        usual = SourceRunner.NODE if reads_file(source) else kind.runs_as[0]
        return SourceRunner(source.agent or usual)
    except ValueError:
        return SourceRunner.SERVICE


def _find_kind(source: ClusterSource) -> AnyKind | None:
    try:
        return load_kind(source.kind)
    except NotFoundError:
        return None


def find_path(source: ClusterSource) -> str:
    """Return the path or address in eaves.yaml that a source reads; empty when there is none."""
    kind = _find_kind(source)
    return str(source.options.get(kind.path_setting if kind else "path", ""))


def reads_file(source: ClusterSource) -> bool:
    """Return whether a source reads a device or a file of its node, instead of a folder or a server."""
    kind = _find_kind(source)
    return kind is not None and kind.is_file(find_path(source))


def find_extra(source: ClusterSource) -> str:
    """Return the extra of Eaves that a source's agent needs; empty when a plain agent suffices."""
    kind = _find_kind(source)
    extra = kind.extra if kind else ""
    return extra or ("s3" if source.options.get("claim_check_bucket") else "")


def source_values(source: ClusterSource) -> dict[str, Any]:
    """Build the settings that a source's agent gets in a pod, with the mount paths of its volume and its Secret."""
    values, kind = source.settings, _find_kind(source)
    if kind is not None and find_runner(source) is not SourceRunner.SERVICE:
        values |= {kind.path_setting: _path_in_pod(source)}
    if source.secret:
        values[CREDENTIALS] = FOLDER
    return values


def _path_in_pod(source: ClusterSource) -> str:
    """Return the path that a source reads in the pod: a folder, an archive or video file in it, or a device."""
    if reads_file(source):
        return find_path_in_pod(find_path(source), is_file=True)
    path = PurePath(find_path(source))
    return f"{IMAGES}/{path.name}" if source.kind == "replay" and path.suffix.lower() in ARCHIVES else IMAGES


def source_addresses(source: ClusterSource) -> Iterator[str]:
    """Yield the addresses of a source, `HOST:PORT` or `tls://HOST:PORT`; none while its settings have faults."""
    configured = _configure(source)
    if configured is not None:
        yield from configured.kind.addresses(configured.settings)
        yield from configured.claims.addresses()


def source_references(source: ClusterSource) -> tuple[str, ...]:
    """Return the URLs of the buckets that a source's events refer to; none while its settings have faults."""
    configured = _configure(source)
    return configured.reference_urls() if configured is not None else ()


def largest_image(source: ClusterSource) -> int:
    """Return the bytes of the largest image that a source captures; the default while its settings have faults."""
    configured = _configure(source)
    return (configured.common if configured is not None else SourceSettings()).max_bytes


def find_child_bytes(source: ClusterSource) -> int:
    """Return the memory that the processes that a source starts may use, bytes; 0 while its settings have faults."""
    configured = _configure(source)
    return configured.kind.child_bytes(configured.settings) if configured is not None else 0


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
