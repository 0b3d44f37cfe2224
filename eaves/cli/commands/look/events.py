"""`eaves events`."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from eaves.cli.event_view import find_best
from eaves.cli.output import output_option, print_rows, say
from eaves.cli.shared_options import state_option
from eaves.cli.table import Column, Columns, Kind
from eaves.events import TYPE_PREFIX
from eaves.history import KEEP, Record, read_history

COLUMNS: Columns = {
    "at": Column("TIME", Kind.MOMENT),
    "type": Column("TYPE", drop=2),
    "subject": Column("SUBJECT", Kind.PATH),
    "label": "LABEL",
    "score": "SCORE",
    "source": Column("SOURCE", Kind.PATH, drop=1),
    "id": Column("EVENT", Kind.ID, drop=3),
}
MAX_KNOWN = 10
"""Types that are named when none is the wanted one."""


@click.command()
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(1, 10_000),
    default=20,
    show_default=True,
    help="Number of events; the newest are shown.",
)
@click.option("--type", "kind", help=f"Only events whose type starts with this; `{TYPE_PREFIX}` may be left out.")
@output_option
@state_option
def command(lines: int, kind: str | None, form: str, state_dir: Path) -> None:
    """Show the newest events that the local platform accepted, oldest first."""
    from eaves.local.state import StateDirectory

    records = read_history(StateDirectory(root=state_dir).history, limit=KEEP if kind else lines)
    kept = [record for record in records if _is_wanted(record.type, kind or "")][-lines:]
    print_rows([_row(record) for record in kept], COLUMNS, form)
    if records and not kept:
        known = ", ".join(sorted({record.type for record in records})[:MAX_KNOWN])
        say(f"none of the newest {len(records)} events has a type that starts with {kind!r}; there are: {known}")


def _is_wanted(type_: str, wanted: str) -> bool:
    """Whether a type begins as it is wanted, with or without the prefix of ours."""
    return type_.startswith(wanted) or type_.removeprefix(TYPE_PREFIX).startswith(wanted)


def _row(record: Record) -> dict[str, Any]:
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.at))
    data = _data(record)
    return {
        **asdict(record),
        "time": moment,
        **find_best(data, record.extensions),
        "data": data,
    }


def _data(record: Record) -> Any:
    try:
        return json.loads(record.text) if record.text else None
    except ValueError:
        return None  # cut at the history's limit
