"""Commands on many sites: options, progress, a table at the end, and an exit code that says whether all went well."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from eaves.cli.cluster.deploy_notes import name_person
from eaves.cli.cluster.platform_options import PlatformChoice, SiteScope, choose_sites, open_site
from eaves.cli.display.output import print_rows, say
from eaves.cli.display.table import Column, Columns, Kind
from eaves.errors import FleetError, StoppedError

if TYPE_CHECKING:
    from knative.client.cluster import Cluster
    from knative.multi_site import SiteOutcome
    from knative.platform import KnativePlatform
    from knative.settings import SiteSettings

T = TypeVar("T")
Command = TypeVar("Command", bound=Callable[..., Any])
COLUMNS: Columns = {
    "site": "SITE",
    "state": "STATE",
    "what": Column("WHAT", Kind.REASON),
    "seconds": Column("TOOK", Kind.SECONDS),
}
STATES = ("done", "unreachable", "failed", "skipped", "stopped")
REACH_S = 10.0
"""In which one of several sites must answer something small, before it is given work that is waited for longer."""
MOST_NAMED = 50
"""Sites that are named in a command to be given again; of more, all are meant: every command can be repeated."""


def fleet_options(command: Command) -> Command:
    """`--parallel` and `--max-failures`."""
    parallel = click.option(
        "--parallel",
        type=click.IntRange(1, 256),
        default=32,
        show_default=True,
        help="Number of sites at the same time.",
    )
    failures = click.option(
        "--max-failures",
        type=click.IntRange(0),
        default=None,
        help="Number of failed sites after which no further site is begun; unreachable ones don't count. "
        "Not given: no limit.",
    )
    return parallel(failures(command))


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteVisit:
    """One of the sites that a command is for.

    Attributes:
        site: The site.
        scope: What eaves.yaml says.
        choice: What the options say.
        alone: Whether there is no other.
    """

    site: SiteSettings
    scope: SiteScope
    choice: PlatformChoice
    alone: bool

    def cluster(self) -> Cluster:
        """Its cluster; of several, one that is silent is left out soon.

        Raises:
            UnreachableClusterError: When one of several doesn't answer.
            EavesError: When the kubeconfig names none.
        """
        cluster = open_site(self.site, self.choice)
        if not self.alone:
            cluster.reach(REACH_S)
        return cluster

    def platform(self) -> KnativePlatform:
        """The platform in it.

        Raises:
            EavesError: As `cluster`.
        """
        from knative.platform import KnativePlatform

        return KnativePlatform(self.cluster(), self.scope.knative, self.site, by=name_person())


def run_on_sites(
    scope: SiteScope,
    choice: PlatformChoice,
    operation: Callable[[SiteVisit], T],
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
        parallel: Number of sites at the same time.
        max_failures: Of the budget.
        tell: A result in a few words.
        form: Of the table.

    Raises:
        EavesError: What went wrong at the only site.
        FleetError: When not all of several sites are done.
        StoppedError: When Ctrl-C stopped it.
    """
    outcomes = visit_sites(scope, choice, operation, parallel=parallel, max_failures=max_failures)
    if len(outcomes) == 1 and form == "table":
        say(_row(outcomes[0], tell)["what"])
    else:
        print_rows([_row(outcome, tell) for outcome in outcomes], COLUMNS, form)
    report_outcomes(outcomes, again, choice)


def visit_sites(
    scope: SiteScope,
    choice: PlatformChoice,
    operation: Callable[[SiteVisit], T],
    *,
    parallel: int = 32,
    max_failures: int | None = None,
) -> list[SiteOutcome[T]]:
    """Do it at every chosen site, with a bar where there are several.

    Raises:
        EavesError: What went wrong at the only site.
    """
    from knative.multi_site import DONE, SiteOutcome, run_on_sites

    sites = choose_sites(scope.sites, choice)
    alone = len(sites) == 1

    def work(site: SiteSettings) -> T:
        return operation(SiteVisit(site=site, scope=scope, choice=choice, alone=alone))

    if alone:
        return [SiteOutcome(site=sites[0].name, state=DONE, result=work(sites[0]))]
    with _bar(len(sites)) as show:
        return run_on_sites(sites, work, parallel=parallel, max_failures=max_failures, show=show)


def report_outcomes(outcomes: Sequence[SiteOutcome[T]], again: str, choice: PlatformChoice) -> None:
    """Say how several fared.

    Args:
        outcomes: Of the sites.
        again: The command that goes on where sites were left out.
        choice: Which sites were meant.

    Raises:
        FleetError: When not all are done.
        StoppedError: When Ctrl-C stopped it.
    """
    if len(outcomes) == 1:
        return
    counts: dict[str, int] = {}
    for one in outcomes:
        counts[one.state] = counts.get(one.state, 0) + 1
    told = ", ".join(f"{counts[state]} {state}" for state in STATES if state in counts)
    left = [one.site for one in outcomes if one.state != "done"]
    if not left:
        say(f"{told} of {len(outcomes)} sites")
        return
    where = "--all" if choice.every and len(left) > MOST_NAMED else f"--site {','.join(left)}"
    error = StoppedError if "stopped" in counts else FleetError
    raise error(f"of {len(outcomes)} sites: {told}", hint=f"{again} {where}")


def _row(outcome: SiteOutcome[T], tell: Callable[[T], str]) -> dict[str, Any]:
    what = tell(outcome.result) if outcome.result is not None else str(outcome.error or "")
    hint = outcome.error.hint if outcome.error is not None and outcome.error.hint else ""
    row = {"site": outcome.site, "state": outcome.state, "what": what, "seconds": round(outcome.duration_s, 1)}
    return {**row, "hint": hint} if hint else row


@contextmanager
def _bar(total: int) -> Iterator[Callable[[SiteOutcome[T]], None]]:
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

        def show(outcome: SiteOutcome[T]) -> None:
            counts[outcome.state] = counts.get(outcome.state, 0) + 1
            told = ", ".join(f"{count} {state}" for state, count in counts.items())
            progress.update(task, advance=1, description=told)

        yield show
