"""`eaves remove`."""

from __future__ import annotations

from pathlib import Path

import click

from eaves.cli.arguments import state_option
from eaves.cli.output import say


@click.command()
@click.argument("name")
@state_option
def command(name: str, state_dir: Path) -> None:
    """Stop wanting function NAME, its triggers and sources. Its artifact, logs and dead letters stay."""
    from eaves.local.client import LocalPlatform

    LocalPlatform(state_dir).remove(name)
    say(f"removed {name}")
