"""Declaration of a section's settings, their table, and layers of their values by environment and command line."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Union

from eaves.base.names import TextForm

ENV_PREFIX = "EAVES"


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsLeaf:
    """One row of a section's settings table: dotted path, type, range, default, description and environment variable.

    Attributes:
        path: Dotted path below the section that the table describes.
        type: Type of the setting's values.
        default: Value of the setting when nothing sets it.
        doc: Description of the setting.
        choices: The allowed strings; empty when any string is allowed.
        env: The environment variable that sets it.
        minimum: Smallest allowed number; None when there is no limit.
        maximum: Largest allowed number; None when there is no limit.
    """

    path: str
    type: Any
    default: Any
    doc: str
    choices: tuple[str, ...]
    env: str
    minimum: float | None = None
    maximum: float | None = None

    @property
    def flag(self) -> str:
        """The command-line flag, such as `--scale-max`."""
        return "--" + self.path.replace(".", "-").replace("_", "-")


def setting(
    default: Any,
    doc: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: Sequence[str] = (),
    form: TextForm | None = None,
    env: str | None = None,
    collects: bool = False,
    nested: bool = False,
) -> Any:
    """Declare one field of a section.

    Args:
        default: Value when nothing sets the setting; `MISSING` makes it required; a type makes a new section.
        doc: Description of the setting, with its unit and the reason for its default.
        minimum: Smallest allowed number.
        maximum: Largest allowed number.
        choices: The allowed strings; empty when any string is allowed.
        form: Form of the allowed strings; None when any string is allowed.
        env: Name of the environment variable, when a platform defines it (`PORT`).
        collects: Whether a mapping collects the settings that its section doesn't know, instead of reporting them as
            faults. The code that knows them checks them. The mapping may also be given by its own name, as in a spec
            file.
        nested: Whether the mappings of a list or mapping hold further mappings. They are kept unchanged, and `faults()`
            of the section checks them.
    """
    metadata = {
        "doc": doc,
        "minimum": minimum,
        "maximum": maximum,
        "choices": tuple(choices),
        "form": form,
        "env": env,
        "collects": collects,
        "nested": nested,
    }
    if isinstance(default, type):
        return dataclasses.field(default_factory=default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@cache
def resolve_types(cls: type) -> Mapping[str, Any]:
    """Return the types of a section's settings by name; a start needs those of some sections ten times."""
    return typing.get_type_hints(cls)


def iter_leaves(cls: type, prefix: str = "") -> Iterator[SettingsLeaf]:
    """Return the table of a section's settings, depth first. A list of sections is one row.

    The name of a setting's environment variable is made from the setting's dotted path. The names for the fields of a
    class with `HAS_OWN_VARIABLES` contain no section, wherever the section is nested. So the process that has these
    settings at its top level reads the same variables.
    """
    hints = resolve_types(cls)
    for field in dataclasses.fields(cls):
        path = f"{prefix}{field.name}"
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint):
            yield from iter_leaves(typing.cast(type, hint), path + ".")
            continue
        default = field.default if field.default_factory is MISSING else field.default_factory()
        metadata = field.metadata
        env = metadata.get("env") or _variable(field.name if _has_own_variable(cls, field.name) else path)
        yield SettingsLeaf(
            path=path,
            type=hint,
            default=default,
            doc=metadata["doc"],
            choices=metadata.get("choices", ()),
            env=env,
            minimum=metadata.get("minimum"),
            maximum=metadata.get("maximum"),
        )


def format_number(number: float) -> str:
    """Return a limit of a setting as text: an integer with all its digits, `1048576`, else at most six digits."""
    return str(int(number)) if number == int(number) else f"{number:g}"


def _variable(path: str) -> str:
    return f"{ENV_PREFIX}_{path.replace('.', '_').upper()}"


def _has_own_variable(cls: type, name: str) -> bool:
    """Return whether a class with `HAS_OWN_VARIABLES` declares a field; fields that a subclass adds are others."""
    return any("HAS_OWN_VARIABLES" in vars(base) and name in base.__dataclass_fields__ for base in cls.__mro__)  # type: ignore[attr-defined]


def is_scalar(hint: Any) -> bool:
    """Return whether one string (a flag or an environment variable) can hold the whole value; lists use commas."""
    options = _list_options(hint)
    return hint == tuple[str, ...] or all(one in (str, int, float, bool, Path, type(None)) for one in options)


def _list_options(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if typing.get_origin(hint) in (Union, types.UnionType) else (hint,)


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
        text, options = environ[leaf.env], _list_options(leaf.type)
        put(values, path, text or (None if type(None) in options and str not in options else text))
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
