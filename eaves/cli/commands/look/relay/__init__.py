"""The command `eaves relay`, which lists the events that a relay took and checks that all were delivered."""

from __future__ import annotations

import click

from eaves.cli.command_group import CommandGroup
from eaves.cli.commands.look.relay import audit, ledger


@click.group(cls=CommandGroup)
def command() -> None:
    """Show the events that a relay took, and check that all were delivered.

    The relay is that of an app on this machine, or of an app at a site (--site, --on).
    """


command.add_command(audit.command)
command.add_command(ledger.command)
