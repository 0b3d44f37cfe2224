"""Layers of values: a section's settings as given by the environment and by the command line."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eaves.config.declarations import can_be_unset, is_scalar, iter_leaves

ENVIRONMENT, COMMAND_LINE = "environment", "command line"


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsLayer:
    """A section's values from one origin, such as the environment or the command line.

    Attributes:
        origin: Name of what the values come from, such as a file or the environment.
        values: The values, nested like the dataclasses.
        origins: Origins of single settings, by dotted path.
    """

    origin: str
    values: Mapping[str, Any]
    origins: Mapping[str, str] = dataclasses.field(default_factory=dict)


def env_layer(cls: type, environ: Mapping[str, str], section: str = "") -> SettingsLayer:
    """Build the layer of a section's values from the environment.

    An empty variable for an optional path or number means that the setting is not given.

    Args:
        cls: The section's dataclass.
        environ: The process's environment.
        section: Dotted path of the section in eaves.yaml with its trailing dot; it becomes part of the variables'
            names.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for leaf in iter_leaves(cls, section):
        path = leaf.path.removeprefix(section)
        if not leaf.env or leaf.env not in environ or not is_scalar(leaf.type):
            continue
        text = environ[leaf.env]
        put(values, path, None if not text and can_be_unset(leaf.type) else text)
        origins[path] = f"environment variable {leaf.env}"
    return SettingsLayer(origin=ENVIRONMENT, values=values, origins=origins)


def flag_layer(flags: Mapping[str, Any], section: str = "") -> SettingsLayer:
    """Build the layer of values from the command line.

    Args:
        flags: Dotted path to value, only for flags that were given.
        section: Dotted path that the command's flags leave out of the settings' names.
    """
    values: dict[str, Any] = {}
    for path, value in flags.items():
        put(values, path, value)
    spoken = {path: path.removeprefix(section).replace(".", "-").replace("_", "-") for path in flags}
    origins = {path: f"--{name}" for path, name in spoken.items()}
    return SettingsLayer(origin=COMMAND_LINE, values=values, origins=origins)


def put(values: dict[str, Any], path: str, value: Any) -> None:
    """Set `value` at a dotted path and create the mappings on the way."""
    *parents, last = path.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
    values[last] = value
