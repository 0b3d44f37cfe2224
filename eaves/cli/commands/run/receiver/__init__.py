"""The command `eaves receiver`, which runs the server in the cloud that accepts the events of sites."""

from __future__ import annotations

import click

from eaves.cli.command_group import CommandGroup
from eaves.cli.commands.run.receiver import ledger, render, run, status, token


@click.group(cls=CommandGroup)
def command() -> None:
    """Receive the events of sites in the cloud, create their tokens, and show what was received."""


command.add_command(run.command)
command.add_command(token.command)
command.add_command(status.command)
command.add_command(ledger.command)
command.add_command(render.command)
