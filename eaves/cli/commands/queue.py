"""The command `eaves queue`, which shows and changes queued events and dead letters, here and at sites."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from eaves.base.files import write_atomically
from eaves.cli import CommandGroup
from eaves.cli.link import BROKER, QueueTarget, open_targets, require_one, target_options
from eaves.cli.output import (
    Column,
    Columns,
    Command,
    Kind,
    confirm,
    describe_age,
    output_option,
    print_rows,
    print_value,
    say,
)
from eaves.cli.project import FILE_PATH
from eaves.cli.site import Place
from eaves.console.words import count_noun
from eaves.errors import EavesError, InputError, PlatformError
from eaves.events import DATAREF
from eaves.redact import redact
from eaves.spool import Selection
from eaves.spool.admin import MAX_SEQ
from eaves.spool.schema import DEAD, QUEUED

if TYPE_CHECKING:
    from eaves.admin import Queue
    from eaves.spool.admin import Stored

T = TypeVar("T")
COLUMNS: Columns = {
    "seq": "NUMBER",
    "lane": Column("LANE", drop=3),
    "state": "STATE",
    "age": "AGE",
    "attempts": Column("ATTEMPTS", drop=2),
    "size_bytes": Column("SIZE", Kind.BYTES, drop=1),
    "subject": Column("SUBJECT", Kind.PATH),
    "reason": Column("REASON", Kind.REASON),
}
SITE_COLUMNS: Columns = {"pod": "POD", **COLUMNS}
UNIQUE = "the numbers of entries are unique within one queue only"

_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_AGE = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhd])")


class Age(click.ParamType[float]):
    """Parameter type of a duration such as `90s`, `15m`, `2h` or `7d`, converted to seconds."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Convert a value to seconds."""
        if isinstance(value, (int, float)):
            return float(value)
        found = _AGE.fullmatch(str(value))
        if found is None:
            self.fail(f"{value!r} is not a time such as 90s, 15m, 2h or 7d", param, ctx)
        return float(found[1]) * _UNITS_S[found[2]]


def filter_options(*, lane: bool = True) -> Callable[[Command], Command]:
    """Return a decorator that adds the options that filter queue entries; their names are fields of `Selection`.

    Args:
        lane: Whether to add `--lane`, and the argument `NUMBER...` of sequence numbers.
    """
    options = [
        click.option("--queued", "state", flag_value=QUEUED, help="Only entries that wait to be delivered."),
        click.option("--dead", "state", flag_value=DEAD, help="Only dead letters."),
        click.option(
            "--source", help="Only events of this source: its full name /eaves/SITE/NAME, or the last part of it."
        ),
        click.option("--reason", help="Only entries whose last failure contains this text."),
        click.option(
            "--older-than",
            "older_than_s",
            type=Age(),
            metavar="AGE",
            help="Only entries added to the queue longer ago than this: 90s, 15m, 2h, 7d.",
        ),
        click.option(
            "--after",
            type=click.IntRange(0, MAX_SEQ),
            metavar="NUMBER",
            help="Only entries with a higher number than this, to list a large queue page by page.",
        ),
    ]
    if lane:
        options.insert(0, click.option("--lane", help="Only entries of this lane."))
        options.append(click.argument("seqs", metavar="[NUMBER]...", nargs=-1, type=click.IntRange(0, MAX_SEQ)))

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


class QueueGroup(CommandGroup):
    """A group of commands whose default command is `list`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Insert the subcommand `list` when the first argument is missing, an option or a number."""
        if not args or (args[0] not in ctx.help_option_names and (args[0].isdecimal() or args[0].startswith("-"))):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.group(cls=QueueGroup)
def command() -> None:
    """Show, retry and delete queued events and dead letters.

    `eaves queue` alone is `eaves queue list`, and takes its options. Without options, it lists the queues of all
    processes of this machine's platform, and the other commands work on the broker's. Options select the queue of an
    agent or a relay here (--agent), that of the receiver here (--receiver), or those of the agents at a site (--site,
    --on).
    """


@command.command("list")
@filter_options()
@click.option(
    "-n", "--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Maximum number of entries."
)
@output_option
@target_options
def list_(limit: int, form: str, place: Place, **options: Any) -> None:
    """List queued events and dead letters, in the order in which they were queued. `eaves queue` does the same."""
    selector = _take_selector(options)
    rows: list[dict[str, Any]] = []
    with open_targets(place, every=True, **options) as targets:
        answered, error = _query_each(targets, lambda queue: queue.entries(selector, limit=limit))
    columns = SITE_COLUMNS if place.is_cluster else COLUMNS if len(targets) == 1 else {"agent": "QUEUE OF", **COLUMNS}
    for target, found in answered:
        where = {"agent": target.agent or BROKER, "pod": target.pod} if columns is not COLUMNS or target.agent else {}
        rows += [{**where, **_times(one), "age": describe_age(max(0.0, time.time() - one.put_at))} for one in found]
        if len(found) == limit:
            say(f"{target}: only the first {limit} entries are shown; --limit shows more")
    print_rows(rows, columns, form)
    if error is not None:
        raise error


@command.command()
@click.argument("number", type=click.IntRange(0))
@click.option("--save", type=FILE_PATH, help="File for the event's data, which is an image.")
@output_option
@target_options
def show(number: int, save: Path | None, form: str, place: Place, **options: Any) -> None:
    """Show entry NUMBER with its event's attributes; --save writes its image to a file."""
    with open_targets(place, **options) as targets:
        content = require_one(targets, UNIQUE).queue.entry(number)
    value = {**_times(content.entry), "attributes": dict(content.attributes)}
    print_value(value, "yaml" if form == "table" else form)
    reference = "" if content.data else content.attributes.get(DATAREF, "")
    if save is not None and reference:
        raise InputError(f"the image of entry {number} isn't in the queue; it is stored at {redact(reference)}")
    if save is not None:
        write_atomically(save, content.data, durability="none", mode=None)
        say(f"{save}: {len(content.data)} bytes")


@command.command()
@filter_options()
@click.option("--all", "everything", is_flag=True, help="Retry every entry that matches the filters.")
@target_options
def retry(**options: Any) -> None:
    """Queue dead letters again, and try entries that wait for their next attempt now."""
    _change("retry", yes=True, **options)


@command.command()
@filter_options()
@click.option("--all", "everything", is_flag=True, help="Delete every dead letter that matches the filters.")
@click.option("--yes", is_flag=True, help="Delete without asking.")
@target_options
def drop(**options: Any) -> None:
    """Delete dead letters for good."""
    _change("drop", **options)


@command.command()
@click.argument("lane", default="")
@filter_options(lane=False)
@click.option("--all", "everything", is_flag=True, help="Delete the entries of every lane.")
@click.option("--yes", is_flag=True, help="Delete without asking.")
@target_options
def purge(**options: Any) -> None:
    """Delete all entries of LANE for good: queued events and dead letters."""
    _change("purge", **options)


def _take_selector(options: dict[str, Any]) -> Selection:
    """Remove the options that filter entries from a command's options, and return them as a selector."""
    given = {one.name: options.pop(one.name) for one in fields(Selection) if one.name in options}
    return Selection(**{name: value for name, value in given.items() if value is not None})


def _change(name: str, *, everything: bool, yes: bool, place: Place, **options: Any) -> None:
    """Count the selected entries, ask before anything is deleted, then retry or delete the entries."""
    from eaves.admin import Action

    action, selector = Action(name), _take_selector(options)
    with open_targets(place, **options) as targets:
        if selector.seqs:
            require_one(targets, UNIQUE)
        counted, error = _query_each(
            targets, lambda queue: queue.change(action, selector, everything=everything, dry_run=True)
        )
        entries, size_bytes = sum(one.entries for _, one in counted), sum(one.size_bytes for _, one in counted)
        named = ", ".join(str(target) for target, _ in counted)
        question = f"Delete {count_noun(entries, 'entry')} ({size_bytes:,} bytes) of {named} for good?"
        confirm(question, yes=yes or not entries)
        chosen = [target for target, count in counted if count.entries]
        changed, failed = _query_each(chosen, lambda queue: queue.change(action, selector, everything=everything))
    done = count_noun(sum(count.entries for _, count in changed), "entry")
    say(f"{done} {'queued again' if name == 'retry' else 'deleted'}" if entries else "no entry matches")
    if (first := error or failed) is not None:
        raise first


def _query_each(
    targets: Sequence[QueueTarget], query: Callable[[Queue], T]
) -> tuple[list[tuple[QueueTarget, T]], EavesError | None]:
    """Call `query` with each queue; return the answers, and the error of the first queue that can't be reached.

    When one of several agents can't be reached, its error is printed and the other queues are still asked.

    Raises:
        EavesError: When the only queue can't be reached.
    """
    answered: list[tuple[QueueTarget, T]] = []
    first: EavesError | None = None
    for target in targets:
        try:
            answered.append((target, query(target.queue)))
        except PlatformError as error:
            if len(targets) == 1:
                raise
            say(f"{target}: {error.message}")
            first = first or error
    return answered, first


def _times(entry: Stored) -> dict[str, Any]:
    """Return the values of an entry with times as RFC 3339 texts; a time that isn't set is None."""
    times = {"put_at": entry.put_at, "not_before": entry.not_before, "died_at": entry.died_at}
    form = "%Y-%m-%dT%H:%M:%SZ"
    return asdict(entry) | {name: time.strftime(form, time.gmtime(at)) if at else None for name, at in times.items()}
