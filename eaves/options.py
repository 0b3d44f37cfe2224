"""Command-line options from a section's settings: flags, environment variables, help and docs come from one table."""

from __future__ import annotations

import logging
import os
import sys
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING
from pathlib import Path
from typing import Any, TypeVar

from eaves import logs
from eaves.base.terminal import escape
from eaves.config import (
    ENV_PREFIX,
    SettingsLayer,
    SettingsLeaf,
    build,
    env_layer,
    flag_layer,
    format_number,
    is_scalar,
    iter_leaves,
)
from eaves.errors import EavesError

T = TypeVar("T")
Command = TypeVar("Command", bound=Callable[..., Any])
_log = logging.getLogger(__name__)


def settings_options(
    cls: type, *, section: str = "", defaults: Mapping[str, str] | None = None
) -> Callable[[Command], Command]:
    """Decorate a click command with one option for each scalar setting of `cls`.

    The command receives them as keyword arguments with the names of `parameter_name`; `given` converts them back.
    Defaults stay in the settings: an option that isn't given is None.

    Args:
        cls: The section's dataclass.
        section: Dotted path of the section in eaves.yaml, with its trailing dot; it becomes part of the variables'
            names.
        defaults: Text of the help for each setting whose default differs in this command, by dotted path.
    """
    import click  # a function that gets all settings from its environment never imports it

    def decorate(command: Command) -> Command:
        for leaf in reversed([leaf for leaf in iter_leaves(cls, section) if is_scalar(leaf.type)]):
            path = leaf.path.removeprefix(section)
            flag = "--" + path.replace(".", "-").replace("_", "-")
            names = f"{flag}/--no-{flag[2:]}" if leaf.type is bool else flag
            one_of = leaf.choices and leaf.type is str
            kind: Any = click.Choice(leaf.choices) if one_of else None if leaf.type is bool else str
            default = (defaults or {}).get(path) or describe_default(leaf.default)
            text = f"{leaf.doc} [default: {'; '.join(filter(None, (default, describe_range(leaf), leaf.env)))}]"
            metavar = name_type(leaf) if kind is not None else None
            option = click.option(names, parameter_name(path), default=None, type=kind, help=text, metavar=metavar)
            command = option(command)
        return command

    return decorate


def describe_default(default: Any) -> str:
    """Return the text of a setting's default in the help."""
    if default is MISSING:
        return "required"
    if isinstance(default, bool):
        return "yes" if default else "no"
    if isinstance(default, tuple):
        return ",".join(map(str, default)) or "none"
    return "none" if default is None else str(default) or "empty"


def describe_range(leaf: SettingsLeaf) -> str:
    """Return the range of a number as click writes that of its own options, `0<=x<=1`; empty when there is none."""
    low, high = ("" if limit is None else format_number(limit) for limit in (leaf.minimum, leaf.maximum))
    if not high:
        return f"x>={low}" if low else ""
    return f"{low}<=x<={high}" if low else f"x<={high}"


_UNITS = {"s": "SECONDS", "ms": "MILLISECONDS", "bytes": "BYTES", "mb": "MB", "gb": "GB", "days": "DAYS"}
"""Unit of a setting's value, by the last part of the setting's name, such as SECONDS for `timeout_s`."""


def name_type(leaf: SettingsLeaf) -> str:
    """Return the unit or type of a setting's value, as the help shows it after the flag."""
    if leaf.type is bool:
        return "yes or no"
    if leaf.choices and leaf.type is str:
        return f"[{'|'.join(filter(None, leaf.choices))}]"
    types = set(typing.get_args(leaf.type) if not isinstance(leaf.type, type) else ()) or {leaf.type}
    if int in types or float in types:
        unit = _UNITS.get(leaf.path.rpartition(".")[2].rpartition("_")[2])
        return unit or ("NUMBER" if float in types else "INTEGER")
    if leaf.type == tuple[str, ...]:
        return "A,B"
    return "PATH" if Path in types else "TEXT"


def parameter_name(path: str) -> str:
    """Return the name of the keyword argument by which a click command receives the option of a setting."""
    return path.replace(".", "__")


def given(cls: type, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return a dict from dotted path to value of those settings of `cls` that the command line sets."""
    paths = [leaf.path for leaf in iter_leaves(cls) if is_scalar(leaf.type)]
    return {
        path: parameters[parameter_name(path)] for path in paths if parameters.get(parameter_name(path)) is not None
    }


def build_settings(cls: type[T], parameters: Mapping[str, Any], *layers: SettingsLayer, section: str = "") -> T:
    """Build a section from files (`layers`), the process's environment and the command line, in rising precedence.

    One log line names the environment variables that no setting reads, since a misspelt one has no effect: of a section
    only those that begin with its name, because a process may read several, and commands have variables of their own.

    Only `__main__` modules and `eaves.cli` may call this, because it reads the environment.

    Raises:
        ConfigError: When there are faults; it holds all of them.
    """
    _warn_of_unread(cls, section)
    return build(cls, *layers, env_layer(cls, os.environ, section), flag_layer(given(cls, parameters)))


def _warn_of_unread(cls: type, section: str) -> None:
    prefix = f"{ENV_PREFIX}_{section.replace('.', '_').upper()}"
    read = {leaf.env for leaf in iter_leaves(cls, section) if is_scalar(leaf.type)}
    if unread := sorted(name for name in os.environ if name.startswith(prefix) and name not in read):
        if not logging.root.handlers:  # the setting of the log's form isn't read yet
            logs.configure()
        _log.warning("no setting of this process reads %s", ", ".join(unread))


def report_errors(main: Callable[[], Any]) -> None:
    """Run a click command as a process's main; an EavesError is printed and sets the exit code."""
    try:
        main()
    except EavesError as error:
        print_error(error)
        sys.exit(error.exit_code)


def print_error(error: EavesError) -> None:
    """Print an error's message and hint to stderr."""
    for line in error.message.split("\n"):
        sys.stderr.write(f"error: {escape(line)}\n")
    if error.hint:
        sys.stderr.write(f"try: {escape(error.hint)}\n")
