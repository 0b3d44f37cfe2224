"""Faults of the sources of eaves.yaml for a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from eaves.credentials.redact import redact
from eaves.errors import NotFoundError
from eaves.sources.kind import load_kind
from eaves.sources.settings import ATTRIBUTES_BYTES
from knative.render.relay_faults import advise_secret, show_kubectl
from knative.resources.app.sources import (
    CREDENTIALS,
    SourceRunner,
    find_path,
    find_runner,
    find_secrets,
    largest_image,
    reads_file,
)
from knative.resources.fields.node_inputs import is_device
from knative.resources.fields.quantities import find_size_fault
from knative.settings import SiteSettings
from knative.specs import ClusterSource

MAX_STATEFUL_SET = 52
"""Maximum characters of a StatefulSet's name, since its pods carry the name and a hash in a label of 63.

Source: kubernetes/kubernetes#64023.
"""


def find_source_faults(source: ClusterSource, site: SiteSettings, function: str) -> Iterator[tuple[str, str]]:
    """Yield path and message of each fault of one source; a path that begins with `sites.` is that of a site's setting.

    Args:
        source: The source.
        site: Site that it is rendered for.
        function: Name of the app's function.
    """
    try:
        known = load_kind(source.kind).runs_as
    except NotFoundError as error:
        yield "kind", error.message
        return
    for path in find_secrets(source.options):
        yield path, advise_credentials(site, source.name, "secret")
    if (folder := source.options.get(CREDENTIALS)) and not source.secret:
        yield "secret", advise_secret(site, source.name, CREDENTIALS, folder)
    if source.agent and source.agent not in known:
        yield "agent", f"must be {' or '.join(known)} for the kind {source.kind} (got {source.agent!r})"
        return
    runner = find_runner(source)
    yield from _find_node_faults(source, site) if runner is SourceRunner.NODE else _find_other_faults(source)
    if runner in {SourceRunner.CLAIM, SourceRunner.READER} and not source.claim:
        also = ", or set `agent: node`" if SourceRunner.NODE in known else ""
        yield "claim", f"must name the volume that the agent {source.name!r} reads{also}"
    if fault := find_size_fault(source.spool_size, largest_image(source), ATTRIBUTES_BYTES, "images"):
        yield "spool_size", fault
    if runner in {SourceRunner.CLAIM, SourceRunner.SERVICE} and len(f"{function}-{source.name}") > MAX_STATEFUL_SET:
        most = MAX_STATEFUL_SET - len(function) - 1
        yield "name", f"must be at most {most} characters long, as the StatefulSet {function}-NAME is named after it"


def _find_node_faults(source: ClusterSource, site: SiteSettings) -> Iterator[tuple[str, str]]:
    """Yield the faults of a source that runs on nodes."""
    kind, path = load_kind(source.kind), find_path(source)
    what = "folder" if SourceRunner.CLAIM in kind.runs_as else "device or a video file"
    known = PurePosixPath(path)
    if not path.startswith("/") or ".." in known.parts or (reads_file(source) and str(known.parent) == "/"):
        yield kind.path_setting, f"must be the absolute path of a {what} on the nodes (got {redact(path)!r})"
    elif source.device_resource and not (reads_file(source) and is_device(path)):
        yield "device_resource", f"can be set only for a source that reads a device below /dev (got {path!r})"
    if not site.namespace:
        yield "sites.namespace", f"must be set, as the agent {source.name!r} on the nodes runs in another namespace"


def _find_other_faults(source: ClusterSource) -> Iterator[tuple[str, str]]:
    """Yield the faults of a source that runs in the app's namespace and has settings for nodes."""
    if reads_file(source):
        path = load_kind(source.kind).path_setting
        yield path, "must be the address of a server; a source with the path of a device or file needs `agent: node`"
    for name in ("nodes", "device_resource"):
        if getattr(source, name):
            yield name, "can be set only for a source with `agent: node`"


def advise_credentials(site: SiteSettings, name: str, setting: str) -> str:
    """Describe how to move a password out of an address in eaves.yaml into a Secret."""
    return (
        "must not have a password or token, as everyone who can read the pod can read the address; create a "
        f"Secret, {show_kubectl(site)} create secret generic {name} --from-literal=username=USER "
        f"--from-file=password=FILE, name it in {setting}: {name}, and remove user name and password from the "
        "address; if they belong in its path or query, write {username} and {password} there"
    )
