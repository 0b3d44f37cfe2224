"""`eaves logs`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from eaves.cli.arguments import file_option, state_option
from eaves.cli.clusters import choose_platform, cluster_options, on_option, read_choice
from eaves.cli.output import print_line


@click.command()
@click.argument("name")
@click.option(
    "-n", "--lines", type=click.IntRange(1, 100_000), default=100, show_default=True, help="How many, the newest."
)
@state_option
@file_option
@on_option
@cluster_options
def command(name: str, lines: int, state_dir: Path, file: Path, **clusters: Any) -> None:
    """Show what function NAME wrote, oldest first; here also FUNCTION.SOURCE, of the agent that runs this source."""
    for line in choose_platform(file, state_dir, read_choice(**clusters)).logs(name, lines=lines):
        print_line(line)
