"""`eaves up`."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import click

from eaves import logs
from eaves.cli.arguments import state_option
from eaves.cli.output import say
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
    supervisor = Supervisor(State(root=state_dir), environ=os.environ, port=port, settings=settings)
    stop_on_signals(supervisor.stop)
    click.echo(supervisor.url)
    say(f"the broker takes CloudEvents at {supervisor.url}; Ctrl-C stops")
    supervisor.run()


def stop_on_signals(stop: Callable[[], None]) -> None:
    """Have SIGINT and SIGTERM call `stop` from a thread of its own.

    A handler runs in the main thread, between any two of its steps: a lock that `stop` takes may be held right there,
    and would never be released.
    Source: the standard library's `queue.SimpleQueue.put`, which is reentrant and so may be called in a handler.
    """
    asked: SimpleQueue[int] = SimpleQueue()

    def wait() -> None:
        asked.get()
        stop()

    threading.Thread(target=wait, name="signals", daemon=True).start()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: asked.put(number))
