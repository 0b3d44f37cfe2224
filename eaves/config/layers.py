"""Layers of values: what the environment and the command line say of a section's settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eaves.config.declarations import SettingsLeaf, can_be_unset, is_scalar, iter_leaves
from eaves.errors import Fault

ENVIRONMENT, COMMAND_LINE = "environment", "command line"


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsLayer:
    """Values from one origin.

    Attributes:
        origin: Where they are from.
        values: The values, nested as the dataclasses are.
        origins: Where single settings are from, by dotted path.
        faults: What is wrong with the origin itself; `build` reports it beside the faults of the values.
    """

    origin: str
    values: Mapping[str, Any]
    origins: Mapping[str, str] = dataclasses.field(default_factory=dict)
    faults: tuple[Fault, ...] = ()


def env_layer(cls: type, environ: Mapping[str, str], section: str = "") -> SettingsLayer:
    """The layer that the environment holds for a section.

    An empty variable of an optional path or number means that the setting isn't given.

    Args:
        cls: The section's dataclass.
        environ: The process's environment.
        section: Dotted path the section stands at in eaves.yaml; it becomes part of the variables' names.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    faults: list[Fault] = []
    for leaf in iter_leaves(cls, section):
        path = leaf.path.removeprefix(section)
        given = [name for name in (leaf.env, leaf.former_env) if name and name in environ]
        if not given or not is_scalar(leaf.type):
            continue
        text = environ[given[0]]
        put(values, path, None if not text and can_be_unset(leaf.type) else text)
        origins[path] = f"environment variable {given[0]}"
        if len(given) == 2 and environ[leaf.env] != environ[leaf.former_env]:
            faults.append(_name_both(leaf, environ))
    return SettingsLayer(origin=ENVIRONMENT, values=values, origins=origins, faults=tuple(faults))


def _name_both(leaf: SettingsLeaf, environ: Mapping[str, str]) -> Fault:
    """The fault of a setting whose two variables have different values."""
    message = (
        f"{leaf.former_env} is the former name of the same setting, and both are set: to {environ[leaf.env]!r:.80} and "
        f"{environ[leaf.former_env]!r:.80}; unset {leaf.former_env}"
    )
    return Fault(origin=f"environment variable {leaf.env}", path=leaf.path, message=message)


def flag_layer(flags: Mapping[str, Any], section: str = "") -> SettingsLayer:
    """The layer that the command line holds: dotted path to value, only what was given.

    Args:
        flags: The values.
        section: Dotted path whose settings the command's flags name without it.
    """
    values: dict[str, Any] = {}
    for path, value in flags.items():
        put(values, path, value)
    spoken = {path: path.removeprefix(section).replace(".", "-").replace("_", "-") for path in flags}
    origins = {path: f"--{name}" for path, name in spoken.items()}
    return SettingsLayer(origin=COMMAND_LINE, values=values, origins=origins)


def put(values: dict[str, Any], path: str, value: Any) -> None:
    """Set `value` at a dotted path, making the mappings on the way."""
    *parents, last = path.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
    values[last] = value
