"""Options and defaults that several commands share; importing this costs nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

FILE = "eaves.yaml"
Command = TypeVar("Command", bound=Callable[..., Any])


def file_option(command: Command) -> Command:
    """`--file`: which eaves.yaml."""
    return click.option(
        "-f",
        "--file",
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


def newest(folder: Path, marker: str) -> Path | None:
    """The directory made last below `folder`, of those that hold the marker file.

    Hidden ones are left out: what a running or killed command builds in lies there.
    """
    found = [path.parent for path in folder.glob(f"[!.]*/{marker}")]
    return max(found, key=lambda path: ((path / marker).stat().st_mtime_ns, path.name), default=None)
