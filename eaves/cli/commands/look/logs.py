"""`eaves logs`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from eaves.cli.cluster.platform_options import choose_platform, cluster_options, on_option, read_choice
from eaves.cli.output import print_line, say
from eaves.cli.shared_options import file_option, state_option


@click.command()
@click.argument("name")
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(1, 100_000),
    default=100,
    show_default=True,
    help="Number of lines; the newest are shown.",
)
@state_option
@file_option
@on_option
@cluster_options
def command(name: str, lines: int, state_dir: Path, file: Path, **clusters: Any) -> None:
    """Show the log lines of function NAME, oldest first.

    Also FUNCTION.SOURCE, the lines of one source, and FUNCTION.agent, those of all sources of the function. At a site
    also FUNCTION.relay, and FUNCTION.TRIGGER-mqtt of a trigger that publishes to MQTT; of a process that ends again and
    again, the lines of its last run.
    """
    found = choose_platform(file, state_dir, read_choice(**clusters)).logs(name, lines=lines)
    for line in found:
        print_line(line)
    if not found and "." in name:
        say(f"no line of {name} yet; those of all its sources: eaves logs {name.partition('.')[0]}.agent")
