"""A container image brought to sites: `eaves deploy --on knative` and `eaves reconcile`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from eaves.cli.apps import build_site_app
from eaves.cli.clusters import Choice, Scope, choose_sites, load_scope
from eaves.cli.event_attributes import warn_of_attributes
from eaves.cli.fleet import Visit, run_visibly, visit_sites
from eaves.cli.images import choose_image, keep_wanted
from eaves.cli.output import say
from eaves.cli.project import Workspace, load_workspace
from eaves.terminal import escape

if TYPE_CHECKING:
    from knative.fleet import Outcome
    from knative.packaged import FunctionImage
    from knative.progress import Progress
    from knative.settings import SiteSettings
    from knative.update import Updated, Wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be brought where.

    Attributes:
        workspace: With eaves.yaml.
        scope: The same, as clusters see it.
        image: The container image.
        choice: Of sites.
    """

    workspace: Workspace
    scope: Scope
    image: FunctionImage
    choice: Choice

    def wanted(self, site: SiteSettings, *, ready_s: float = 0.0, **how: bool) -> Wanted:
        """What one site is to have."""
        from knative.update import Wanted

        app = build_site_app(self.workspace.project, self.image, site)
        return Wanted(app=app, knative=self.scope.knative, rollout=self.scope.rollout, ready_s=ready_s, **how)


def build_order(
    image: str, file: Path, choice: Choice, *, key: Path | None, offline: bool, plain_http: bool,
    registry_ca: Path | None, kept: bool = False,
) -> Order:  # fmt: skip
    """What the options of a command say.

    Raises:
        EavesError: When no site can be chosen, the container image isn't what it must be, or eaves.yaml has faults.
    """
    from knative.rendering import render_app

    workspace, scope = load_workspace(file), load_scope(file)
    sites = choose_sites(scope.sites, choice)  # before a registry is asked
    chosen = choose_image(
        workspace, image, key=key, offline=offline, plain_http=plain_http, registry_ca=registry_ca, kept=kept
    )
    warn_of_attributes(workspace.project.triggers, workspace.origin, relay=workspace.project.relay)
    order = Order(workspace=workspace, scope=scope, image=chosen, choice=choice)
    for site in sites:  # what is wrong with eaves.yaml is said once, and before any site is touched
        render_app(order.wanted(site).app, scope.knative, site)
    return order


def deploy_to_sites(
    order: Order, *, wait: bool, detach: bool, timeout: float, adopt: bool, yes: bool, dry_run: str | None,
    parallel: int, max_failures: int | None,
) -> None:  # fmt: skip
    """Bring it to the chosen sites.

    Raises:
        EavesError: When it doesn't become ready at the only site, or not all of several are done.
    """
    told = [name for name, value in (("--wait", wait), ("--detach", detach), ("--dry-run", dry_run)) if value]
    if len(told) > 1:
        raise click.UsageError(f"{' and '.join(told)} exclude each other.")
    if adopt and not dry_run:
        _ask_before_adopting(order, yes=yes)
    if not dry_run:
        keep_wanted(order.workspace, order.image)

    def wanted(site: SiteSettings) -> Wanted:
        ready_s = 0.0 if detach else timeout
        return order.wanted(site, ready_s=ready_s, adopt=adopt, dry_run=bool(dry_run), follow=wait)

    update_sites(order, wanted, again="eaves reconcile", parallel=parallel, max_failures=max_failures)
    click.echo(order.workspace.project.name)


def update_sites(
    order: Order,
    wanted: Callable[[SiteSettings], Wanted],
    *,
    again: str,
    parallel: int,
    max_failures: int | None,
    form: str = "table",
) -> None:
    """Update the chosen sites; at one of them everything is shown as it happens.

    Raises:
        EavesError: What went wrong.
    """
    from knative.update import update_site

    def update(visit: Visit) -> Updated:
        cluster, what = visit.cluster(), wanted(visit.site)
        if not visit.alone:
            return update_site(cluster, visit.site, what)
        with _live_table() as show:
            return update_site(cluster, visit.site, what, show=show, tell=say)

    run_visibly(
        order.scope,
        order.choice,
        update,
        again=again,
        parallel=parallel,
        max_failures=max_failures,
        tell=tell,
        form=form,
    )


def tell(updated: Updated) -> str:
    """What became of a site, in a line."""
    from knative.rollout import Phase
    from knative.update import describe

    counts: dict[str, int] = {}
    for one in updated.applied:
        counts[one.outcome] = counts.get(one.outcome, 0) + 1
    text = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
    if updated.outcome is None:
        return text
    state = updated.outcome.state
    waits = state is not None and state.phase is Phase.ADVANCING
    more = "; it gets requests by `eaves reconcile`, `eaves rollout` or `eaves promote`" if waits else ""
    return f"{text}; {describe(updated.outcome)}{more}"


def diff_sites(order: Order) -> list[Outcome[list[str]]]:
    """What a deploy would change at each chosen site, line by line.

    Raises:
        EavesError: What went wrong at the only site.
    """
    from knative.deploy.pins import add_pins
    from knative.difference import diff_app
    from knative.rendering import render_app

    def diff(visit: Visit) -> list[str]:
        wanted, cluster = order.wanted(visit.site), visit.cluster()
        manifests = add_pins(cluster, render_app(wanted.app, wanted.knative, visit.site), wanted.app)
        return list(diff_app(cluster, manifests, wanted.owner))

    return visit_sites(order.scope, order.choice, diff)


def _ask_before_adopting(order: Order, *, yes: bool) -> None:
    """Show what taking over changes, and ask. A site that can't be asked is left alone by what follows, too.

    Raises:
        click.Abort: When the answer is no.
    """
    for outcome in diff_sites(order):
        for line in outcome.result or ([f"{outcome.site}: {outcome.error}"] if outcome.error else []):
            say(line)
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("--adopt asks before it takes over; --yes answers.")
        click.confirm("Take it over?", abort=True, err=True)


@contextmanager
def _live_table() -> Iterator[Callable[[Progress], None]]:
    """A table on a terminal that follows what is seen; elsewhere a line whenever it changes."""
    if not sys.stderr.isatty():
        yield _lines()
        return
    from rich import box
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

    with Live(
        console=Console(file=sys.stderr, highlight=False, markup=False), auto_refresh=False, transient=False
    ) as live:

        def show(progress: Progress) -> None:
            table = Table("WHAT", "STATE", "DETAIL", box=box.SIMPLE_HEAD, pad_edge=False)
            for row in progress.rows():
                table.add_row(*(escape(row[key], keep="") for key in ("what", "state", "detail")))
            live.update(table, refresh=True)

        yield show


def _lines() -> Callable[[Progress], None]:
    said: list[Sequence[str]] = []

    def show(progress: Progress) -> None:
        lines = [" ".join(filter(None, row.values())) for row in progress.rows()]
        if [lines] != said[-1:]:
            said.append(lines)
            for line in lines:
                say(line)

    return show
