"""The command `eaves up`, which runs the local platform."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from eaves import logs
from eaves.base.names import NAME_PATTERN, build_name
from eaves.cli.live import STOP_S, StopSignals, follow_events, print_predictions
from eaves.cli.output import say
from eaves.cli.project import read_yaml
from eaves.cli.site import FILE, state_option
from eaves.console.words import count_noun
from eaves.errors import PlatformError
from eaves.local.settings import LocalSettings
from eaves.options import build_settings, settings_options

SECTION = "up."
"""Name of the settings section; the names of the settings' environment variables begin with it."""


@click.command()
@click.option("-q", "--quiet", is_flag=True, help="Print no predictions.")
@click.option(
    "--print-unit",
    is_flag=True,
    help="Print a systemd unit that runs this `eaves up` with its options, as you, at each boot, and end.",
)
@state_option
@settings_options(LocalSettings, section=SECTION)
def command(*, quiet: bool, state_dir: Path, print_unit: bool, **options: Any) -> None:
    """Run the local platform with everything that is deployed, in the foreground, until Ctrl-C.

    Accepted events are stored and survive a restart. Each prediction is printed as one line: time, function, label,
    score and subject, for example the path of the image. In a folder without eaves.yaml, name the state directory with
    --state.
    """
    settings = build_settings(LocalSettings, options, section=SECTION)
    if print_unit:
        from eaves.local.service import build_unit

        name = _read_name(Path(FILE))
        unit = f"eaves-{name}"
        click.echo(build_unit(name, settings, state_dir, say), nl=False)
        say(f"write it to /etc/systemd/system/{unit}.service, and start it: sudo systemctl enable --now {unit}")
        return
    is_default = click.get_current_context().get_parameter_source("state_dir") is ParameterSource.DEFAULT
    if is_default and not (Path(FILE).exists() or state_dir.exists()):
        raise PlatformError(
            f"{Path.cwd()} holds no {FILE} and no {state_dir}, so nothing is deployed here",
            hint="run `eaves up` in the folder of eaves.yaml, or make a project with `eaves init`",
        )
    _run(settings, state_dir, quiet=quiet)


def _read_name(file: Path) -> str:
    """Return the project's name in eaves.yaml, or the folder's when there is no file, or no usable name in it."""
    name = read_yaml(file).get("name") if file.exists() else None
    return name if isinstance(name, str) and NAME_PATTERN.fullmatch(name) else build_name(Path.cwd().name, "platform")


def _run(settings: LocalSettings, state_dir: Path, *, quiet: bool) -> None:
    """Run the platform until a signal comes."""
    from eaves.history import HistoryReader
    from eaves.local.state import StateDirectory
    from eaves.local.supervisor import Supervisor

    logs.configure(as_json=False)  # one kind of lines, beside those of `say`
    signals = StopSignals()  # before anything is opened that a signal would leave behind
    state, ending = StateDirectory(root=state_dir), threading.Event()
    reader = HistoryReader(state.history)
    step = follow_events(reader, reader.newest())
    supervisor = Supervisor(state, environ=os.environ, settings=settings)
    signals.call(supervisor.stop)
    click.echo(supervisor.url)
    say(f"the broker accepts CloudEvents at {supervisor.url}; Ctrl-C stops it")
    if supervisor.is_open:
        say(f"every caller needs the token in {settings.token_file}, at 127.0.0.1 too; requests are sent unencrypted")
    elif settings.token_file:
        say("token_file has no effect without --host: only this machine's programs reach the port, without a token")
    for line in supervisor.console.describe():
        say(line)
    printer = None
    if not quiet and sys.stdout is not None:  # after the address, which is the first line of stdout
        arguments = step, sys.stdout.fileno(), ending
        printer = threading.Thread(target=print_predictions, args=arguments, name="print-predictions", daemon=True)
        printer.start()
    supervisor.run()
    ending.set()
    if printer is not None:
        printer.join(STOP_S)
    say("stopped")
    if count := supervisor.left_queued:
        waits = f"{count_noun(count, 'event')} {'waits' if count == 1 else 'wait'} in the queue"
        say(f"{waits}; `eaves up` delivers them when it runs again")
