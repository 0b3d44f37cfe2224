"""`eaves status`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from eaves.cli.arguments import state_option
from eaves.cli.output import output_option, print_rows, say

COLUMNS = {
    "name": "FUNCTION",
    "state": "STATE",
    "replicas": "REPLICAS",
    "queued": "QUEUED",
    "delivered": "DELIVERED",
    "dead": "DEAD",
    "sources": "SOURCES",
    "artifact": "ARTIFACT",
    "reason": "REASON",
}


@click.command()
@output_option
@state_option
def command(form: str, state_dir: Path) -> None:
    """Show the functions wanted here and how they are."""
    from eaves.local.client import LocalPlatform

    platform = LocalPlatform(state_dir)
    found = platform.status()
    rows = [asdict(status) for status in found]
    print_rows([{**row, "sources": list(row["sources"])} for row in rows], COLUMNS, form)
    if any(status.dead for status in found):
        say("dead letters are kept: `eaves dead`")
    if not platform.running():
        say("`eaves up` is not running here")
    elif not found:
        say("nothing is deployed here: `eaves deploy`")
