"""Command-line options that filter entries, the same in `eaves queue` and in an agent's container."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

from eaves.admin.selector import DEAD, MAX_SEQ, QUEUED, Selector

Command = TypeVar("Command", bound=Callable[..., Any])

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


def numbers_argument(command: Command) -> Command:
    """Add the argument `NUMBER...` to a command; it takes the sequence numbers of queue entries."""
    return click.argument("seqs", metavar="[NUMBER]...", nargs=-1, type=click.IntRange(0, MAX_SEQ))(command)


def filter_options(*, lane: bool = True, state: bool = True) -> Callable[[Command], Command]:
    """Return a decorator that adds the options that filter queue entries; `build_selector` takes their values.

    Args:
        lane: Whether to add `--lane`.
        state: Whether to add `--queued` and `--dead`.
    """
    options = [
        click.option(
            "--source",
            default="",
            help=("Only events of this source: its full name /eaves/SITE/NAME, or the last part of it."),
        ),
        click.option("--reason", default="", help="Only entries whose last failure contains this text."),
        click.option(
            "--older-than",
            type=Age(),
            metavar="AGE",
            help=("Only entries added to the queue longer ago than this: 90s, 15m, 2h, 7d."),
        ),
        click.option(
            "--after",
            type=click.IntRange(0, MAX_SEQ),
            metavar="NUMBER",
            help="Only entries with a higher number than this, to list a large queue page by page.",
        ),
    ]
    if state:
        options.insert(0, click.option("--dead", "state", flag_value=DEAD, help="Only dead letters."))
        options.insert(
            0, click.option("--queued", "state", flag_value=QUEUED, help=("Only entries that wait to be delivered."))
        )
    if lane:
        options.insert(0, click.option("--lane", default="", help="Only entries of this lane."))

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def build_selector(
    *,
    seqs: tuple[int, ...] = (),
    lane: str = "",
    state: str | None = None,
    source: str = "",
    reason: str = "",
    older_than: float | None = None,
    after: int | None = None,
) -> Selector:
    """Build a selector of queue entries from the values of the options that `filter_options` adds."""
    return Selector(
        seqs=seqs,
        lane=lane,
        state=state or "",
        source=source,
        reason=reason,
        older_than_s=older_than,
        after=after or 0,
    )


def to_arguments(selector: Selector) -> list[str]:
    """Return the command-line arguments of a selector: options first, then numbers."""
    given = {"lane": selector.lane, "source": selector.source, "reason": selector.reason}
    options = [f"--{name}={value}" for name, value in given.items() if value]
    options += [f"--{selector.state}"] if selector.state else []
    options += [] if selector.older_than_s is None else [f"--older-than={selector.older_than_s:f}s"]
    options += [f"--after={selector.after}"] if selector.after else []
    return [*options, *map(str, selector.seqs)]
