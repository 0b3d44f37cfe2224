"""Commands on many sites: options, progress, a table at the end, and an exit code that says whether all went well."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from eaves.cli.clusters import Choice, Scope, choose_sites
from eaves.cli.output import print_rows, say
from eaves.errors import EavesError, FleetError

if TYPE_CHECKING:
    from knative.fleet import Outcome
    from knative.settings import SiteSettings

T = TypeVar("T")
Command = TypeVar("Command", bound=Callable[..., Any])
COLUMNS = {"site": "SITE", "state": "STATE", "what": "WHAT", "seconds": "SECONDS"}


def fleet_options(command: Command) -> Command:
    """`--parallel` and `--max-failures`."""
    parallel = click.option(
        "--parallel", type=click.IntRange(1, 256), default=32, show_default=True, help="Sites at the same time."
    )
    failures = click.option(
        "--max-failures",
        type=click.IntRange(0),
        default=None,
        help="Sites that may fail before no other is begun; any number when not given. Unreachable ones don't count.",
    )
    return parallel(failures(command))


def run_visibly(
    scope: Scope,
    choice: Choice,
    operation: Callable[[SiteSettings], T],
    *,
    again: str,
    parallel: int,
    max_failures: int | None,
    tell: Callable[[T], str] = str,
    form: str = "table",
) -> None:
    """Do it at every chosen site. At one site its error is the command's; at several, a table says how each fared.

    Args:
        scope: With the sites.
        choice: Which of them.
        operation: For one site.
        again: The command that goes on where sites were left out.
        parallel: Sites at the same time.
        max_failures: Of the budget.
        tell: A result in a few words.
        form: Of the table.

    Raises:
        EavesError: What went wrong at the only site.
        FleetError: When not all of several sites are done.
    """
    from knative.fleet import run_on_sites

    sites = choose_sites(scope.sites, choice)
    if len(sites) == 1:
        told = tell(operation(sites[0]))
        if form == "table":
            say(told)
        else:
            print_rows([{"site": sites[0].name, "state": "done", "what": told}], COLUMNS, form)
        return
    with _bar(len(sites)) as show:
        outcomes = run_on_sites(sites, operation, parallel=parallel, max_failures=max_failures, show=show)
    print_rows([_row(outcome, tell) for outcome in outcomes], COLUMNS, form)
    _judge(outcomes, again)


def _row(outcome: Outcome[T], tell: Callable[[T], str]) -> dict[str, Any]:
    what = tell(outcome.result) if outcome.result is not None else str(outcome.error or "")
    hint = outcome.error.hint if isinstance(outcome.error, EavesError) and outcome.error.hint else ""
    row = {"site": outcome.site, "state": outcome.state, "what": what, "seconds": round(outcome.duration_s, 1)}
    return {**row, "hint": hint} if hint else row


def _judge(outcomes: Sequence[Outcome[T]], again: str) -> None:
    counts = {
        state: sum(one.state == state for one in outcomes) for state in ("done", "unreachable", "failed", "skipped")
    }
    told = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    if counts["done"] == len(outcomes):
        say(f"{told} of {len(outcomes)} sites")
        return
    left = ",".join(one.site for one in outcomes if one.state != "done")
    raise FleetError(f"of {len(outcomes)} sites: {told}", hint=f"{again} --site {left}")


@contextmanager
def _bar(total: int) -> Iterator[Callable[[Outcome[T]], None]]:
    """Progress on a terminal, with counts by state."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("sites"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    counts: dict[str, int] = {}
    with Progress(*columns, console=Console(file=sys.stderr), disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("", total=total)

        def show(outcome: Outcome[T]) -> None:
            counts[outcome.state] = counts.get(outcome.state, 0) + 1
            told = ", ".join(f"{count} {state}" for state, count in counts.items())
            progress.update(task, advance=1, description=told)

        yield show
