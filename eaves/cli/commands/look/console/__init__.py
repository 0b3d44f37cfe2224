"""The command `eaves console`, which is about the web page that shows a platform."""

from __future__ import annotations

import click

from eaves.cli.command_group import CommandGroup
from eaves.cli.commands.look.console import render


@click.group(cls=CommandGroup)
def command() -> None:
    """Show a platform as a web page.

    `eaves up` serves the page of this machine and prints its address. `eaves console render` writes the Kubernetes
    objects that serve the page of a site.
    """


command.add_command(render.command)
