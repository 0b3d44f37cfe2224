"""Commands on many sites: options, progress, a table of the results, and an exit code for all of them."""

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
from eaves.errors import CancelledError, FleetError

if TYPE_CHECKING:
    from knative.client.cluster import Cluster
    from knative.multi_site import SiteOutcome
    from knative.platform import KnativePlatform
    from knative.rollout import RolloutOutcome
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
"""Timeout of a first, small request to one of several sites, seconds; longer requests follow once it has answered."""
MOST_NAMED = 50
"""Maximum number of sites whose names a hint lists. For more sites, the hint suggests --all instead, which is safe
because every command can be repeated."""


def fleet_options(command: Command) -> Command:
    """Add `--parallel` and `--max-failures` to a command."""
    parallel = click.option(
        "--parallel",
        type=click.IntRange(1, 256),
        default=32,
        show_default=True,
        help="Number of sites that are worked on at the same time.",
    )
    failures = click.option(
        "--max-failures",
        type=click.IntRange(0),
        default=None,
        help="Number of sites that may fail: after one more failure no further site is started. Unreachable sites "
        "don't count. Default: no limit.",
    )
    return parallel(failures(command))


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteVisit:
    """One of the sites that a command works on, with the options of the command.

    Attributes:
        site: The site.
        scope: Settings of clusters in eaves.yaml.
        choice: Values of the options that select platform and sites.
        alone: Whether the command is for this site only.
    """

    site: SiteSettings
    scope: SiteScope
    choice: PlatformChoice
    alone: bool

    def cluster(self) -> Cluster:
        """Connect to the site's cluster; when the command is for several sites, with a short timeout.

        Raises:
            UnreachableClusterError: When one of several sites doesn't answer.
            EavesError: When the kubeconfig has no such cluster.
        """
        cluster = open_site(self.site, self.choice)
        if not self.alone:
            cluster.reach(REACH_S)
        return cluster

    def platform(self) -> KnativePlatform:
        """Connect to the platform in the site's cluster.

        Raises:
            UnreachableClusterError: When one of several sites doesn't answer.
            EavesError: When the kubeconfig has no such cluster.
        """
        from knative.platform import KnativePlatform

        return KnativePlatform(self.cluster(), self.scope.knative, self.site, by=name_person())

    def retry_refused(self, cluster: Cluster, name: str) -> str:
        """Queue the images again that replaced revisions of a function refused; return what was done, if anything."""
        from knative.deploy.ownership import AppOwner
        from knative.status.agent_queue import Kubectl
        from knative.status.refused_images import retry_refused

        owner = AppOwner(app=name, agents=self.scope.knative.agent_namespace)
        return retry_refused(cluster, owner, Kubectl(kubeconfig=self.choice.kubeconfig, context=self.site.context))

    def finish(self, cluster: Cluster, outcome: RolloutOutcome) -> str:
        """Describe the outcome of a rollout's step, after queueing images again that replaced revisions refused."""
        from knative.deploy.site_update import describe_outcome

        due = outcome.state is not None and outcome.state.to_retry
        retried = self.retry_refused(cluster, outcome.name) if due else ""
        return "; ".join(filter(None, (describe_outcome(outcome), retried)))


def run_on_sites(
    scope: SiteScope,
    choice: PlatformChoice,
    operation: Callable[[SiteVisit], T],
    *,
    again: str,
    parallel: int,
    max_failures: int | None,
    describe: Callable[[T], str] = str,
    form: str = "table",
) -> None:
    """Run an operation at every chosen site, and print its results: a sentence for one site, a table for several.

    Args:
        scope: Settings of clusters in eaves.yaml, with the sites.
        choice: Values of the options that select sites.
        operation: Does the work at one site and returns its result.
        again: Command that a hint suggests for sites where the operation failed or wasn't started.
        parallel: Number of sites that are worked on at the same time.
        max_failures: Number of sites that may fail: after one more failure no further site is started. None for no
            limit.
        describe: Returns a result as a short text.
        form: Format of the table: `table`, `json` or `yaml`.

    Raises:
        EavesError: When the operation fails at the only site.
        FleetError: When the operation failed or wasn't started at one of several sites.
        CancelledError: When Ctrl-C stopped the command.
    """
    outcomes = visit_sites(scope, choice, operation, parallel=parallel, max_failures=max_failures)
    if len(outcomes) == 1 and form == "table":
        say(_row(outcomes[0], describe)["what"])
    else:
        print_rows([_row(outcome, describe) for outcome in outcomes], COLUMNS, form)
    report_outcomes(outcomes, again, choice)


def visit_sites(
    scope: SiteScope,
    choice: PlatformChoice,
    operation: Callable[[SiteVisit], T],
    *,
    parallel: int = 32,
    max_failures: int | None = None,
) -> list[SiteOutcome[T]]:
    """Run an operation at every chosen site, with a progress bar when there are several, and return the outcomes.

    Raises:
        EavesError: When the operation fails at the only site.
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
    """Print at how many of several sites a command succeeded; print nothing for a single site.

    Args:
        outcomes: Outcomes of all sites.
        again: Command that a hint suggests for sites where the operation failed or wasn't started.
        choice: Values of the options that select sites.

    Raises:
        FleetError: When the command failed or wasn't started at a site.
        CancelledError: When Ctrl-C stopped the command.
    """
    if len(outcomes) == 1:
        return
    counts: dict[str, int] = {}
    for one in outcomes:
        counts[one.state] = counts.get(one.state, 0) + 1
    summary = ", ".join(f"{counts[state]} {state}" for state in STATES if state in counts)
    left = [one.site for one in outcomes if one.state != "done"]
    if not left:
        say(f"{summary} of {len(outcomes)} sites")
        return
    where = "--all" if choice.every and len(left) > MOST_NAMED else f"--site {','.join(left)}"
    error = CancelledError if "stopped" in counts else FleetError
    raise error(f"of {len(outcomes)} sites: {summary}", hint=f"{again} {where}")


def _row(outcome: SiteOutcome[T], describe: Callable[[T], str]) -> dict[str, Any]:
    what = describe(outcome.result) if outcome.result is not None else str(outcome.error or "")
    hint = outcome.error.hint if outcome.error is not None and outcome.error.hint else ""
    row = {"site": outcome.site, "state": outcome.state, "what": what, "seconds": round(outcome.duration_s, 1)}
    return {**row, "hint": hint} if hint else row


@contextmanager
def _bar(total: int) -> Iterator[Callable[[SiteOutcome[T]], None]]:
    """Show a progress bar of the sites that succeeded and failed; without a terminal, show nothing.

    Yields:
        A function that is called with the outcome of each site.
    """
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
            summary = ", ".join(f"{count} {state}" for state, count in counts.items())
            progress.update(task, advance=1, description=summary)

        yield show
