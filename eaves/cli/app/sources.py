"""The sources of eaves.yaml as this machine runs them: settings checked, paths made absolute."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from eaves.cli.app.project import Workspace
from eaves.cli.display.output import say
from eaves.config import iter_leaves
from eaves.credentials import has_secrets
from eaves.errors import ConfigError, Fault
from eaves.platform import SourceSpec
from eaves.sources.agent.configuration import read_source


def resolve_sources(workspace: Workspace) -> tuple[SourceSpec, ...]:
    """The sources, with every path absolute.

    Says what isn't there to be read, which a source waits for, as it may be a disk that isn't mounted now; and where an
    address holds a password.

    Raises:
        ConfigError: With every fault of the settings, and every folder of credentials that is not there.
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
            Fault(origin=workspace.origin, path=f"{prefix}{name}", message=f"{path} is not there")
            for name, path in needed.items()
            if not path.exists()
        ]
        for name, path in awaited.items():
            if not path.exists():
                hint = f": mkdir -p {shlex.quote(str(path))}" if source.kind == "folder" else ""
                say(f"warning: {workspace.origin}: {prefix}{name}: {path} is not there; the source waits for it{hint}")
        _warn_of_secrets(workspace.origin, prefix, source.options)
        sections = (configured.common, configured.options, configured.settings)
        known = dict(chain.from_iterable(map(_find_plain_values, sections)))
        options = {name: known.get(name, value) for name, value in source.options.items()}
        options |= {name: str(path) for name, path in {**needed, **awaited}.items()}
        resolved.append(SourceSpec(name=source.name, kind=source.kind, options=options))
    if faults:
        raise ConfigError(faults)
    return tuple(resolved)


def _find_plain_values(section: Any) -> Iterator[tuple[str, bool | float]]:
    """The numbers and booleans among some settings of a source, by name: eaves.yaml holds their texts."""
    for leaf in iter_leaves(type(section)):
        value = getattr(section, leaf.path)
        if isinstance(value, bool | int | float):
            yield leaf.path, value


def _find_paths(workspace: Workspace, section: Any) -> Iterator[tuple[str, Path]]:
    """The paths among some settings of a source as seen from the project, by the setting's name."""
    for leaf in iter_leaves(type(section)):
        value = getattr(section, leaf.path)
        if isinstance(value, Path):
            yield leaf.path, workspace.path(value).absolute()


def _warn_of_secrets(origin: str, prefix: str, options: Mapping[str, Any]) -> None:
    for name, value in options.items():
        if isinstance(value, str) and has_secrets(value):
            say(
                f"warning: {origin}: {prefix}{name} holds a password or token; put it into the files username and "
                "password of a folder that only you may read, and set `credentials` to that folder"
            )
