"""The sources of eaves.yaml as this machine runs them: settings checked, paths made absolute."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from eaves.cli.output import say
from eaves.cli.project import Workspace
from eaves.config import iter_leaves
from eaves.credentials import has_secrets
from eaves.errors import ConfigError, Fault
from eaves.platform import SourceSpec
from eaves.sources.agent.configuration import ConfiguredSource, read_source


def resolve_sources(workspace: Workspace) -> tuple[SourceSpec, ...]:
    """The sources, with every path absolute.

    Says where an address holds a password.

    Raises:
        ConfigError: With every path that is not there.
    """
    resolved: list[SourceSpec] = []
    faults: list[Fault] = []
    hint = None
    for number, source in enumerate(workspace.project.sources):
        prefix = f"sources[{number}]."
        configured, found = read_source(source.settings, workspace.origin, prefix)
        if configured is None:
            faults += found
            continue
        paths = dict(_find_paths(workspace, configured))
        missing = {name: path for name, path in paths.items() if not path.exists()}
        faults += [
            Fault(origin=workspace.origin, path=f"{prefix}{name}", message=f"{path} is not there")
            for name, path in missing.items()
        ]
        if "path" in missing and source.kind == "folder":
            hint = hint or f"mkdir -p {shlex.quote(str(missing['path']))}"
        _warn_of_secrets(workspace.origin, prefix, source.options)
        options = {**source.options, **{name: str(path) for name, path in paths.items()}}
        resolved.append(replace(source, options=options))
    if faults:
        raise ConfigError(faults, hint=hint)
    return tuple(resolved)


def _find_paths(workspace: Workspace, source: ConfiguredSource) -> Iterator[tuple[str, Path]]:
    """The paths among the settings of a source as seen from the project, by the setting's name."""
    for section in (source.common, source.settings):
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
