"""The command `eaves receiver ledger`, which lists the events that a receiver got."""

from __future__ import annotations

from pathlib import Path

import click

from eaves.cli.link.receiver_settings import receiver_spool
from eaves.cli.shared_options import state_option


@click.command("ledger")
@click.option(
    "--spool",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Spool file of the receiver. Default: that of `eaves receiver run` on this machine.",
)
@click.option("--site", default="", help="Print only events of this site.")
@state_option
def command(spool: Path | None, site: str, state_dir: Path) -> None:
    """Print every event that a receiver on this machine got, as JSON lines in the order of arrival.

    Each line has number, source, id, at (when the event was received, Unix seconds), state, repeats and digest.
    """
    from eaves.admin.client import open_queue
    from eaves.admin.endpoints import default_socket
    from eaves.audit.lists import read_pages
    from eaves.link.ledger_lines import encode_line

    path = spool or receiver_spool(state_dir)
    prefix = f"/eaves/{site}/" if site else ""
    with open_queue(path, default_socket(path), ()) as queue:
        for line in read_pages(lambda after: queue.ledger(after=after)):
            if line.source.startswith(prefix):
                click.echo(encode_line(line))
