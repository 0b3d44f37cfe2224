"""`eaves up`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from eaves import logs
from eaves.cli.arguments import state_option
from eaves.cli.output import say
from eaves.cli.stop_signals import StopSignals
from eaves.local.settings import LocalSettings
from eaves.options import build_settings, settings_options

PORT = 8480
SECTION = "up."
"""What the environment variables of the settings begin with."""


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=PORT,
    show_default=True,
    help="Of the broker on loopback; 0: a free one.",
)
@state_option
@settings_options(LocalSettings, section=SECTION)
def command(port: int, state_dir: Path, **options: Any) -> None:
    """Run everything that is deployed, in the foreground, until Ctrl-C. Accepted events survive it."""
    from eaves.local.state import State
    from eaves.local.supervisor import Supervisor

    settings = build_settings(LocalSettings, options, section=SECTION)
    logs.configure()
    signals = StopSignals()  # before anything is opened that a signal would leave behind
    supervisor = Supervisor(State(root=state_dir), environ=os.environ, port=port, settings=settings)
    signals.call(supervisor.stop)
    click.echo(supervisor.url)
    say(f"the broker takes CloudEvents at {supervisor.url}; Ctrl-C stops")
    supervisor.run()
