"""Options and defaults that several commands share; the module imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

FILE = "eaves.yaml"
Command = TypeVar("Command", bound=Callable[..., Any])


def file_option(command: Command) -> Command:
    """Add `-f` and `--file`, the path of eaves.yaml, to a command."""
    return _add_file_option(command, "-f", "--file")


def long_file_option(command: Command) -> Command:
    """Add `--file`, the path of eaves.yaml, to a command whose `-f` is `--follow`."""
    return _add_file_option(command, "--file")


def _add_file_option(command: Command, *names: str) -> Command:
    return click.option(
        *names,
        type=click.Path(path_type=Path),
        default=Path(FILE),
        show_default=True,
        help="Settings file of the project.",
    )(command)


def state_option(command: Command) -> Command:
    """Add `--state`, the local platform's state directory, to a command."""
    return click.option(
        "--state",
        "state_dir",
        type=click.Path(path_type=Path),
        default=Path(".eaves"),
        show_default=True,
        envvar="EAVES_STATE",
        help="The local platform's state directory. [EAVES_STATE]",
    )(command)
