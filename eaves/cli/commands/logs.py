"""The command `eaves logs`, which shows the log of a function or a source."""

from __future__ import annotations

from functools import partial

import click

from eaves.cli.live import follow_tail, repeat, show_log_line
from eaves.cli.output import print_line
from eaves.cli.site import Place, place_options

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
@place_options("state", "long_file", "on", "all")
def command(name: str, lines: int, follow: bool, place: Place) -> None:
    """Show the log lines of function NAME, oldest first.

    NAME may also be FUNCTION.SOURCE, for the lines of one source, or FUNCTION.agent, for those of all sources of the
    function. At a site, it may also be FUNCTION.relay, or FUNCTION.TRIGGER-mqtt for a trigger that publishes to MQTT.
    For a process that ends again and again, the lines of its last run are shown.

    On a terminal a line of JSON is shown as time, level, message and fields; in a pipe, as it was written.

    With --follow, `eaves up`, functions and pods may be stopped and started meanwhile.
    """
    platform = place.open_platform()
    if not follow:
        for line in platform.logs(name, lines=max(lines, 1))[-lines:] if lines else []:
            print_line(show_log_line(line))
        return
    if place.is_cluster:
        step, every_s = follow_tail(lambda count: platform.logs(name, lines=count), lines), CLUSTER_POLL_S
    else:
        from eaves.local.client import LocalPlatform

        step, every_s = partial(next, LocalPlatform(place.state_dir).follow_logs(name, lines=lines)), POLL_S

    def show() -> None:
        for line in step():
            print_line(show_log_line(line))

    repeat(show, every_s=every_s)
