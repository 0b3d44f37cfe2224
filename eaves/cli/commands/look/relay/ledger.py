"""The command `eaves relay ledger`, which lists the events that a relay took."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from eaves.cli.link.relay_targets import open_relays, relay_options, require_one


@click.command("ledger")
@click.option(
    "--spool",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    help="Spool file of a relay. Default: the relay that is deployed on this machine.",
)
@relay_options
def command(spool: Path | None, **options: Any) -> None:
    """Print the state of every event that a relay took, as JSON lines in the order of arrival.

    Each line has number, source, id, at (when the relay took the event, Unix seconds), state, repeats and digest.
    """
    from eaves.audit.lists import read_pages, read_spool
    from eaves.link.ledger_lines import encode_line

    if spool is not None:
        for line in read_spool(spool):
            click.echo(encode_line(line))
        return
    with open_relays(**options) as relays:
        relay = require_one(relays)
        for line in read_pages(lambda after: relay.queue.ledger(after=after)):
            click.echo(encode_line(line))
