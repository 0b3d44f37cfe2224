"""The command `eaves logs`, which shows the log of a function or a source."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from eaves.cli.cluster.platform_options import choose_platform, cluster_options, on_option, read_choice
from eaves.cli.display.output import print_line, say
from eaves.cli.live.log_text import show_log_line
from eaves.cli.shared_options import long_file_option, state_option
from eaves.errors import EavesError

POLL_S = 0.25
"""Pause between two readings of a log file, seconds."""
CLUSTER_POLL_S = 2.0
"""Pause between two readings of the logs of a cluster's pods, seconds; each asks the API server once for each pod."""


@click.command()
@click.argument("name")
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(0, 100_000),
    default=100,
    show_default=True,
    help="Number of past lines; the newest are shown.",
)
@click.option("-f", "--follow", is_flag=True, help="Show new lines as they are written, until Ctrl-C.")
@state_option
@long_file_option
@on_option
@cluster_options
def command(name: str, lines: int, follow: bool, state_dir: Path, file: Path, **clusters: Any) -> None:
    """Show the log lines of function NAME, oldest first.

    NAME may also be FUNCTION.SOURCE, for the lines of one source, or FUNCTION.agent, for those of all sources of the
    function. At a site, it may also be FUNCTION.relay, or FUNCTION.TRIGGER-mqtt for a trigger that publishes to MQTT.
    For a process that ends again and again, the lines of its last run are shown.

    On a terminal a line of JSON is shown as time, level, message and fields; in a pipe, as it was written.

    With --follow, `eaves up`, functions and pods may be stopped and started meanwhile.
    """
    choice = read_choice(**clusters)
    platform = choose_platform(file, state_dir, choice)
    if follow:
        _follow(name, lines, state_dir, platform.logs if choice.knative else None)
        return
    found = platform.logs(name, lines=max(lines, 1))[-lines:] if lines else []
    for line in found:
        print_line(show_log_line(line))
    if lines and not found and "." in name:
        say(f"{name} has no log line yet; the lines of all sources: eaves logs {name.partition('.')[0]}.agent")


def _follow(name: str, lines: int, state_dir: Path, read: Callable[..., list[str]] | None) -> None:
    """Print log lines until Ctrl-C or until stdout has no reader.

    Args:
        name: Name of the log.
        lines: Number of past lines to print.
        state_dir: State directory of the local platform.
        read: Returns the last lines of a log of a cluster; None for the local platform.
    """
    from eaves.cli.live.log_lines import follow_tail
    from eaves.cli.live.loop import repeat
    from eaves.local.client import LocalPlatform

    steps: Iterator[Sequence[str] | EavesError]
    if read is None:
        steps = LocalPlatform(state_dir).follow_logs(name, lines=lines)
    else:
        steps = follow_tail(lambda count: read(name, lines=count), lines)
    problem = ""

    def show() -> None:
        nonlocal problem
        found = next(steps)
        if isinstance(found, EavesError):
            if problem != found.message:
                say(f"error: {found.message}; the command tries again")
            problem = found.message
            return
        problem = ""
        for line in found:
            print_line(show_log_line(line))

    repeat(show, every_s=POLL_S if read is None else CLUSTER_POLL_S)
