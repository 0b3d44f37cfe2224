"""Loading of the sources in eaves.yaml for this machine: settings are checked and paths are made absolute."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from eaves.cli.app.project import Workspace
from eaves.cli.display.output import say
from eaves.config import iter_leaves
from eaves.credentials.redact import has_secrets
from eaves.errors import ConfigError, Fault
from eaves.platform import SourceSpec
from eaves.sources.agent.configuration import ConfiguredSource, read_source
from functions.fetch.url_policy import find_url_fault


def resolve_sources(workspace: Workspace) -> tuple[SourceSpec, ...]:
    """Return the sources in eaves.yaml with every path absolute.

    Prints a warning for each path that doesn't exist, for which the source waits because it may be on a disk that isn't
    mounted now, and for each address that holds a password.

    Raises:
        ConfigError: When settings have faults or a folder of credentials doesn't exist; it holds all faults.
    """
    resolved: list[SourceSpec] = []
    faults: list[Fault] = []
    for number, source in enumerate(workspace.project.sources):
        prefix = f"sources[{number}]."
        configured, found = read_source(source.settings, workspace.origin, prefix)
        if configured is None:
            faults += found
            continue
        needed = dict(_find_paths(workspace, configured.common))
        awaited = dict(_find_paths(workspace, configured.settings))
        faults += [
            Fault(origin=workspace.origin, path=f"{prefix}{name}", message=f"{path} does not exist")
            for name, path in needed.items()
            if not path.exists()
        ]
        for name, path in awaited.items():
            if not path.exists():
                hint = f": mkdir -p {shlex.quote(str(path))}" if source.kind == "folder" else ""
                waits = f"{path} does not exist; the source waits for it{hint}"
                say(f"warning: {workspace.origin}: {prefix}{name}: {waits}")
        faults += _find_reference_faults(workspace, configured)
        _warn_of_secrets(workspace.origin, prefix, source.options)
        sections = (configured.common, configured.options, configured.claims, configured.settings)
        known = dict(chain.from_iterable(map(_find_plain_values, sections)))
        options = {name: known.get(name, value) for name, value in source.options.items()}
        options |= {name: str(path) for name, path in {**needed, **awaited}.items()}
        kind = configured.kind
        if (file := options.get(kind.path_setting)) is not None and kind.is_file(str(file)):
            options[kind.path_setting] = str(workspace.path(Path(str(file))))
        resolved.append(SourceSpec(name=source.name, kind=source.kind, options=options))
    if faults:
        raise ConfigError(faults)
    return tuple(resolved)


def _find_reference_faults(workspace: Workspace, configured: ConfiguredSource) -> Iterator[Fault]:
    """Yield a fault when the function may not fetch the images that the source's events refer to."""
    function = workspace.project.function
    for url in configured.reference_urls():
        if fault := find_url_fault(url, hosts=function.dataref_hosts, schemes=function.dataref_schemes):
            message = f"the function would refuse images of the source {configured.common.name} at {url}: {fault}"
            yield Fault(origin=workspace.origin, path="function.dataref_hosts", message=message)


def _find_plain_values(section: Any) -> Iterator[tuple[str, bool | float]]:
    """Yield name and parsed value of each number and boolean in a section of a source; eaves.yaml may hold a text."""
    for leaf in iter_leaves(type(section)):
        value = getattr(section, leaf.path)
        if isinstance(value, bool | int | float):
            yield leaf.path, value


def _find_paths(workspace: Workspace, section: Any) -> Iterator[tuple[str, Path]]:
    """Return name and absolute path of each setting of a source's section that is a path."""
    for leaf in iter_leaves(type(section)):
        value = getattr(section, leaf.path)
        if isinstance(value, Path):
            yield leaf.path, workspace.path(value).absolute()


def _warn_of_secrets(origin: str, prefix: str, options: Mapping[str, Any]) -> None:
    for name, value in options.items():
        if isinstance(value, str) and has_secrets(value):
            say(
                f"warning: {origin}: {prefix}{name} holds a password or token; write it to the files username and "
                "password in a folder that only you may read, and set `credentials` to that folder"
            )
