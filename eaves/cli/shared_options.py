"""Options and defaults that several commands share; importing this costs nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

FILE = "eaves.yaml"
Command = TypeVar("Command", bound=Callable[..., Any])


def file_option(command: Command) -> Command:
    """`-f`, `--file`: which eaves.yaml."""
    return _add_file_option(command, "-f", "--file")


def long_file_option(command: Command) -> Command:
    """`--file`: which eaves.yaml, for commands whose `-f` is `--follow`."""
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
    """`--state`: which state directory."""
    return click.option(
        "--state",
        "state_dir",
        type=click.Path(path_type=Path),
        default=Path(".eaves"),
        show_default=True,
        envvar="EAVES_STATE",
        help="The local platform's state directory. [EAVES_STATE]",
    )(command)
