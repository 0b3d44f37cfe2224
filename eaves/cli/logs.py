"""`eaves logs`."""

from __future__ import annotations

from pathlib import Path

import click

from eaves.cli.arguments import state_option


@click.command()
@click.argument("name")
@click.option(
    "-n", "--lines", type=click.IntRange(1, 100_000), default=100, show_default=True, help="How many, the newest."
)
@state_option
def command(name: str, lines: int, state_dir: Path) -> None:
    """Show what function NAME (or source FUNCTION.SOURCE) wrote, oldest first."""
    from eaves.local.client import LocalPlatform

    for line in LocalPlatform(state_dir).logs(name, lines=lines):
        click.echo(line)
