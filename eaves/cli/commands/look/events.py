"""The command `eaves events`, which shows events of the local platform."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from eaves.cli.display.event_view import find_best
from eaves.cli.display.output import output_option, print_line, print_rows, say
from eaves.cli.display.table import Column, Columns, Kind
from eaves.cli.live.event_filter import matches_type
from eaves.cli.live.event_lines import format_record, parse_data, terminal_width
from eaves.cli.live.items import print_item
from eaves.cli.shared_options import state_option
from eaves.errors import PlatformError
from eaves.events import TYPE_PREFIX
from eaves.history import KEEP, HistoryReader, Record, RecordFilter

COLUMNS: Columns = {
    "at": Column("TIME", Kind.MOMENT),
    "type": Column("TYPE", drop=2),
    "subject": Column("SUBJECT", Kind.PATH),
    "label": "LABEL",
    "score": "SCORE",
    "source": Column("SOURCE", Kind.PATH, drop=1),
    "id": Column("EVENT", Kind.ID, drop=3),
}
POLL_S = 0.25
"""Pause between two readings of the history of events, seconds."""
MAX_KNOWN = 10
"""Maximum number of recorded event types that the message about an unknown type lists."""


@click.command()
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(0, 10_000),
    default=20,
    show_default=True,
    help="Number of past events; the newest are shown.",
)
@click.option("-f", "--follow", is_flag=True, help="Show new events as they come, until Ctrl-C.")
@click.option(
    "--type",
    "kind",
    metavar="TYPE",
    help="Show only events of this type, or of the types that begin with it: image.classified, image.classified.v1 or "
    f"{TYPE_PREFIX}image.classified.v1.",
)
@output_option
@state_option
def command(lines: int, follow: bool, kind: str | None, form: str, state_dir: Path) -> None:
    """Show the newest events that the local platform accepted, oldest first.

    With --follow, each event is one line: time, type, label, score, subject and the beginning of the id. With
    `-o json`, each line is one JSON object. `eaves up` may be stopped and started meanwhile.
    """
    from eaves.local.state import StateDirectory

    history = StateDirectory(root=state_dir).history
    if follow:
        _follow(history, lines, kind or "", form)
        return
    records = HistoryReader(history).find(RecordFilter(), limit=KEEP if kind else lines)[::-1]
    kept = [record for record in records if matches_type(record.type, kind or "")][-lines:] if lines else []
    print_rows([_row(record) for record in kept], COLUMNS, form)
    if lines and not kept:
        _report_unknown_type(records, kind or "")


def _report_unknown_type(records: Sequence[Record], kind: str) -> None:
    """Print the types of the recorded events when there are events, and none of them has the wanted type."""
    if records and not any(matches_type(record.type, kind) for record in records):
        known = ", ".join(sorted({record.type for record in records})[:MAX_KNOWN])
        say(f"none of the newest {len(records)} events has a type that starts with {kind!r}; their types are: {known}")


def _follow(history: Path, lines: int, kind: str, form: str) -> None:
    """Print events until Ctrl-C or until stdout has no reader."""
    from eaves.cli.live.event_stream import EventStream
    from eaves.cli.live.loop import repeat

    stream = EventStream(history, kind)
    problem = ""

    def show_newest() -> None:
        for record in stream.read_newest(lines):
            _print_record(record, form)
        if kind:
            _report_unknown_type(HistoryReader(history).find(RecordFilter(), limit=KEEP), kind)
        say("new events appear below; Ctrl-C ends the view" if history.exists() else "`eaves up` has not run here yet")

    def show_new() -> None:
        nonlocal problem
        try:
            is_more = True
            while is_more:
                new = stream.read_new()
                if new.missed:
                    say(f"{new.missed:,} events were not shown: the history deleted them before they were read")
                for record in new.records:
                    _print_record(record, form)
                is_more = new.is_more
            problem = ""
        except PlatformError as error:  # the file is being replaced, or the disk fails: the next step tries again
            if problem != error.message:
                say(f"error: {error.message}")
            problem = error.message

    repeat(show_new, every_s=POLL_S, first=show_newest)


def _print_record(record: Record, form: str) -> None:
    if form == "table":
        print_line(format_record(record, terminal_width()))
    else:
        print_item(_row(record), form)


def _row(record: Record) -> dict[str, Any]:
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.at))
    data = parse_data(record.text)
    return {
        **asdict(record),
        "time": moment,
        **find_best(data, record.extensions),
        "data": data,
    }
