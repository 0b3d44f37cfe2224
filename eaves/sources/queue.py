"""Command that shows and changes the queue of the agent in this container, as JSON: `python -P -m eaves.sources.queue`.

`eaves queue --on knative` runs this command in the agents' pods by `kubectl exec`, and a person can run it there, too.
The command asks the running agent over the agent's Unix socket, and opens the spool itself when no agent runs.
"""

from __future__ import annotations

import base64
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from eaves.admin import Action
from eaves.admin.client import open_queue
from eaves.admin.endpoints import default_socket
from eaves.admin.options import build_selector, filter_options, numbers_argument
from eaves.admin.queue import LEDGER_LIMIT, LIMIT, Queue
from eaves.admin.routes import MAX_LIMIT
from eaves.config import iter_leaves
from eaves.options import report_errors
from eaves.sources.agent_lanes import LANES
from eaves.sources.settings import AgentSettings
from eaves.spool import lease_path
from eaves.spool.ledger import to_dict


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
def main(ctx: click.Context) -> None:
    """Show and change what the agent in this container has queued."""
    given = {leaf.path: os.environ.get(leaf.env) or leaf.default for leaf in iter_leaves(AgentSettings)}
    spool = Path(given["spool"])
    socket = Path(given["admin_socket"] or default_socket(spool))
    ctx.obj = ctx.with_resource(open_queue(spool, socket, [lease_path(spool, lane) for lane in LANES]))


@main.command()
@click.pass_obj
def status(queue: Queue, /) -> None:
    """Print the report of every lane and of the source."""
    _print(queue.report().to_dict())


@main.command("list")
@numbers_argument
@filter_options()
@click.option(
    "--limit", type=click.IntRange(1, MAX_LIMIT), default=LIMIT, show_default=True, help=("Maximum number of entries.")
)
@click.pass_obj
def list_(queue: Queue, /, limit: int, **chosen: Any) -> None:
    """Print entries without their data, in the order they were put."""
    _print(list(queue.entries(build_selector(**chosen), limit=limit)))


@main.command()
@click.argument("seq", metavar="NUMBER", type=click.IntRange(0))
@click.pass_obj
def show(queue: Queue, /, seq: int) -> None:
    """Print one entry with its event's attributes, and with its data as base64."""
    content = queue.entry(seq)
    data = base64.b64encode(content.data).decode()
    _print({"entry": dict(content.entry), "attributes": dict(content.attributes), "data_base64": data})


@main.command()
@click.option(
    "--after",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help=("Only lines with a number greater than this."),
)
@click.option(
    "--limit",
    type=click.IntRange(1, MAX_LIMIT),
    default=LEDGER_LIMIT,
    show_default=True,
    help=("Maximum number of lines."),
)
@click.pass_obj
def ledger(queue: Queue, /, after: int, limit: int) -> None:
    """Print lines of the ledger, which says what became of each event; a relay has one."""
    _print([to_dict(line) for line in queue.ledger(after=after, limit=limit)])


def _add_change(action: Action, text: str) -> None:
    @numbers_argument
    @filter_options()
    @click.option("--all", "everything", is_flag=True, help="Apply the action to every entry.")
    @click.option("--dry-run", is_flag=True, help="Count the selected entries without changing them.")
    @click.pass_obj
    def change(queue: Queue, /, everything: bool, dry_run: bool, **chosen: Any) -> None:
        selector = build_selector(**chosen)
        _print(asdict(queue.change(action, selector, everything=everything, dry_run=dry_run)))

    main.command(action.value, help=text)(change)


_add_change(Action.RETRY, "Queue dead letters for delivery again, and make entries that wait for a retry due now.")
_add_change(Action.DROP, "Delete dead letters.")
_add_change(Action.PURGE, "Delete all entries of a lane, in any state.")


def _print(value: Any) -> None:
    click.echo(json.dumps(value))


if __name__ == "__main__":
    report_errors(main)
