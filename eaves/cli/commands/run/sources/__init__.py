"""The command `eaves sources`, which tries a source before images are sent."""

from __future__ import annotations

import click

from eaves.cli.command_group import CommandGroup
from eaves.cli.commands.run.sources import trial


@click.group(cls=CommandGroup)
def command() -> None:
    """Try a source: connect to it, take one image, and show what would be sent."""


command.add_command(trial.command)
