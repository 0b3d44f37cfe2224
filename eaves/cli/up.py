"""`eaves up`."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import click

from eaves import logs
from eaves.cli.arguments import state_option
from eaves.cli.output import say

PORT = 8480


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=PORT,
    show_default=True,
    help="Of the broker on loopback; 0: a free one.",
)
@state_option
def command(port: int, state_dir: Path) -> None:
    """Run everything that is deployed, in the foreground, until Ctrl-C. Accepted events survive it."""
    from eaves.local.state import State
    from eaves.local.supervisor import Supervisor

    logs.configure()
    supervisor = Supervisor(State(root=state_dir), environ=os.environ, port=port)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: supervisor.stop())
    click.echo(supervisor.url)
    say(f"the broker takes CloudEvents at {supervisor.url}; Ctrl-C stops")
    supervisor.run()
