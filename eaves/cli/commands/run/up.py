"""The command `eaves up`, which runs the local platform."""

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

PORT = 8480
SECTION = "up."
"""Section of the settings, which begins the names of their environment variables."""


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=PORT,
    show_default=True,
    help="Port of the broker on the loopback address; 0: any free port.",
)
@click.option(
    "--listen",
    metavar="ADDRESS:PORT",
    help="Also accept requests at this address of the machine, from callers that send the token in STATE/token, which "
    "Eaves creates. Token and images are sent unencrypted.",
)
@click.option("-q", "--quiet", is_flag=True, help="Print no predictions.")
@state_option
@settings_options(LocalSettings, section=SECTION)
def command(port: int, listen: str | None, quiet: bool, state_dir: Path, **options: Any) -> None:
    """Run the local platform with everything that is deployed, in the foreground, until Ctrl-C.

    Accepted events are stored and survive a restart. Each prediction is printed as one line: time, function, label,
    score and subject, for example the path of the image. When predictions come faster than the terminal prints them,
    some are only counted.
    """
    from eaves.cli.live.event_printer import PredictionPrinter
    from eaves.local.state import StateDirectory
    from eaves.local.supervisor import Supervisor

    opened = parse_listen(listen) if listen else None
    settings = build_settings(LocalSettings, options, section=SECTION)
    logs.configure()
    signals = StopSignals()  # before anything is opened that a signal would leave behind
    state = StateDirectory(root=state_dir)
    printer = (
        None if quiet or sys.stdout is None else PredictionPrinter(sys.stdout.fileno(), is_terminal=sys.stdout.isatty())
    )
    observe = printer.add if printer else _ignore
    supervisor = Supervisor(state, environ=os.environ, port=port, listen=opened, settings=settings, observe=observe)
    signals.call(supervisor.stop)
    click.echo(supervisor.url)
    say(f"the broker accepts CloudEvents at {supervisor.url}; Ctrl-C stops it")
    if opened is not None:
        say(f"requests to {listen} need the token in {state.token}; they are sent unencrypted")
    if printer:
        printer.start()  # after the address, which is the first line of stdout
    supervisor.run()
    if printer:
        printer.stop()
    if supervisor.left_queued:
        say(f"{supervisor.left_queued:,} events wait in the queue; `eaves up` delivers them when it runs again")


def _ignore(event: Event) -> None:
    """Print nothing of an event."""


def parse_listen(text: str) -> tuple[str, int]:
    """Parse the value of `--listen` into address and port.

    Raises:
        click.BadParameter: When the text isn't ADDRESS:PORT.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise click.BadParameter(
            f"must be ADDRESS:PORT, such as 192.168.1.5:8481 (got {text!r})", param_hint="--listen"
        )
    return host.strip("[]"), int(port)
