"""`eaves up`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from eaves import logs
from eaves.cli.display.output import say
from eaves.cli.shared_options import state_option
from eaves.cli.stop_signals import StopSignals
from eaves.events import Event
from eaves.local.settings import LocalSettings
from eaves.options import build_settings, settings_options

SECTION = "up."
"""What the environment variables of the settings begin with."""


@click.command()
@click.option("-q", "--quiet", is_flag=True, help="Print no predictions.")
@state_option
@settings_options(LocalSettings, section=SECTION)
def command(quiet: bool, state_dir: Path, **options: Any) -> None:
    """Run the local platform with everything that is deployed, in the foreground, until Ctrl-C.

    Accepted events are kept. Each prediction is printed as one line: time, function, label, score and subject, for
    example the path of the image. Predictions that come faster than the terminal takes them are counted, not printed.
    """
    from eaves.cli.live.event_printer import PredictionPrinter
    from eaves.local.state import StateDirectory
    from eaves.local.supervisor import Supervisor

    settings = build_settings(LocalSettings, options, section=SECTION)
    logs.configure()
    signals = StopSignals()  # before anything is opened that a signal would leave behind
    state = StateDirectory(root=state_dir)
    printer = (
        None if quiet or sys.stdout is None else PredictionPrinter(sys.stdout.fileno(), is_terminal=sys.stdout.isatty())
    )
    observe = printer.add if printer else _ignore
    supervisor = Supervisor(
        state,
        environ=os.environ,
        port=settings.port,
        host=settings.host,
        token_file=settings.token_file,
        settings=settings,
        observe=observe,
    )
    signals.call(supervisor.stop)
    click.echo(supervisor.url)
    say(f"the broker takes CloudEvents at {supervisor.url}; Ctrl-C stops")
    if supervisor.is_open:
        say(f"callers from other machines send the token in {settings.token_file}; nothing is encrypted")
    if printer:
        printer.start()  # after the address, which is the first line of stdout
    supervisor.run()
    if printer:
        printer.stop()
    if supervisor.left_queued:
        say(f"{supervisor.left_queued:,} events wait in the queue; `eaves up` delivers them when it runs again")


def _ignore(event: Event) -> None:
    """Print nothing of an event."""
