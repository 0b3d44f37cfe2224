"""A container image brought to sites: `eaves deploy --on knative` and `eaves reconcile`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from eaves.base.terminal import escape
from eaves.cli.app.app_specs import build_site_app
from eaves.cli.app.event_attributes import warn_of_attributes
from eaves.cli.app.project import Workspace, load_workspace
from eaves.cli.cluster.container_images import choose_image, choose_kept_image
from eaves.cli.cluster.deploy_notes import load_note, name_person, note_agreement, note_deploy
from eaves.cli.cluster.multi_site import SiteVisit, run_on_sites, visit_sites
from eaves.cli.cluster.platform_options import PlatformChoice, SiteScope, choose_sites, load_scope
from eaves.cli.display.output import say

if TYPE_CHECKING:
    from knative.deploy.function_image import FunctionImage
    from knative.deploy.objects.inventory import DeploymentRecord
    from knative.deploy.site_update import SiteDeployment, SiteUpdate
    from knative.multi_site import SiteOutcome
    from knative.readiness.progress import DeploymentProgress
    from knative.settings import SiteSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployRequest:
    """What is to be brought where.

    Attributes:
        workspace: With eaves.yaml.
        scope: The same, as clusters see it.
        image: The container image; None: `reconcile` has none to bring.
        choice: Of sites.
    """

    workspace: Workspace
    scope: SiteScope
    image: FunctionImage | None
    choice: PlatformChoice

    @property
    def sites(self) -> tuple[SiteSettings, ...]:
        """The chosen sites."""
        return choose_sites(self.scope.sites, self.choice)

    def wanted(
        self, site: SiteSettings, *, image: FunctionImage | None = None, ready_s: float = 0.0, **how: bool
    ) -> SiteDeployment:
        """What one site is to have; with another container image where one is given."""
        from knative.deploy.function_image import FunctionImage
        from knative.deploy.site_update import SiteDeployment

        project = self.workspace.project
        chosen = image or self.image or FunctionImage(name=f"eaves.invalid/none@sha256:{'0' * 64}")
        return SiteDeployment(
            app=build_site_app(project, chosen, site),
            knative=self.scope.knative,
            rollout=self.scope.rollout,
            by=name_person(),
            declared=project.knative.image,
            ready_s=ready_s,
            **how,
        )


def build_deploy_request(
    image: str, file: Path, choice: PlatformChoice, *, key: Path | None, offline: bool, plain_http: bool,
    registry_ca: Path | None, kept: bool = False,
) -> DeployRequest:  # fmt: skip
    """What the options of a command say.

    Args:
        image: The container image as it is named; empty: none is.
        file: Path of eaves.yaml.
        choice: Of sites.
        key: Who must have signed the container image.
        offline: Ask no registry.
        plain_http: Reach registries without TLS.
        registry_ca: Of registries.
        kept: What was deployed last from here comes before what eaves.yaml names, and there may be neither.

    Raises:
        EavesError: When no site can be chosen, the container image isn't what it must be, or eaves.yaml has faults.
    """
    from knative.render.rendering import render_app

    workspace, scope = load_workspace(file), load_scope(file)
    sites = choose_sites(scope.sites, choice)  # before a registry is asked
    choose = choose_kept_image if kept else choose_image
    chosen = choose(workspace, image, key=key, offline=offline, plain_http=plain_http, registry_ca=registry_ca)
    warn_of_attributes(workspace.project.triggers, workspace.origin, relay=workspace.project.relay)
    order = DeployRequest(workspace=workspace, scope=scope, image=chosen, choice=choice)
    for site in sites:  # what is wrong with eaves.yaml is said once, and before any site is touched
        render_app(order.wanted(site).app, scope.knative, site)
    return order


def deploy_to_sites(
    order: DeployRequest, *, wait: bool, detach: bool, timeout: float, adopt: bool, yes: bool, dry_run: str | None,
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
    if order.image is not None and not dry_run:
        note_deploy(order.workspace, order.image, order.sites)

    def deploy(visit: SiteVisit) -> SiteUpdate:
        from knative.deploy.site_update import update_site

        cluster, site = visit.cluster(), visit.site
        ready_s = 0.0 if detach else timeout
        wanted = order.wanted(site, ready_s=ready_s, adopt=adopt, dry_run=bool(dry_run), follow=wait)

        def taken(deployment: DeploymentRecord) -> None:
            note_agreement(order.workspace, site, deployment, order.image)

        if not visit.alone:
            return update_site(cluster, site, wanted, taken=taken)
        with _live_table() as show:
            updated = update_site(cluster, site, wanted, show=show, tell=say, taken=taken)
        return replace(updated, note="")  # it was told already

    _run(order, deploy, parallel=parallel, max_failures=max_failures)
    click.echo(order.workspace.project.name)


def reconcile_sites(order: DeployRequest, *, named: bool, parallel: int, max_failures: int | None, form: str) -> None:
    """Take the chosen sites one step towards what each cluster wants.

    Args:
        order: With the container image that sites may get which didn't yet.
        named: Whether it was named on the command line, as in a deploy.
        parallel: Number of sites at the same time.
        max_failures: Sites that may fail.
        form: Of the table.

    Raises:
        EavesError: What went wrong at the only site, or not all of several are done.
    """
    if order.image is not None and named:
        note_deploy(order.workspace, order.image, order.sites)
    note, project = load_note(order.workspace), order.workspace.project

    def reconcile(visit: SiteVisit) -> SiteUpdate:
        from knative.deploy.reconcile_decision import WantedDeployment, WorkspaceMemory
        from knative.deploy.reconciliation import reconcile_site

        memory = note.site(visit.site) if note is not None else WorkspaceMemory()
        wish = WantedDeployment(site=visit.site.name, image=order.image, declared=project.knative.image, memory=memory)
        return reconcile_site(
            visit.cluster(),
            visit.site,
            project.name,
            wish,
            lambda image: order.wanted(visit.site, image=image),
            agreed=lambda last: note_agreement(order.workspace, visit.site, last, memory.pending),
        )

    _run(order, reconcile, parallel=parallel, max_failures=max_failures, form=form)


def _run(
    order: DeployRequest,
    operation: Callable[[SiteVisit], SiteUpdate],
    *,
    parallel: int,
    max_failures: int | None,
    form: str = "table",
) -> None:
    run_on_sites(
        order.scope,
        order.choice,
        operation,
        again="eaves reconcile",
        parallel=parallel,
        max_failures=max_failures,
        tell=describe_update,
        form=form,
    )


def describe_update(updated: SiteUpdate) -> str:
    """What became of a site, in a line, and in a second one what whoever asked for it should know."""
    from knative.deploy.site_update import describe_outcome
    from knative.rollout import RolloutPhase

    counts: dict[str, int] = {}
    for one in updated.applied:
        counts[one.outcome] = counts.get(one.outcome, 0) + 1
    text = ", ".join(f"{count} {outcome}" for outcome, count in counts.items()) or "nothing applied"
    if updated.outcome is not None:
        state = updated.outcome.state
        waits = state is not None and state.phase is RolloutPhase.ADVANCING
        more = "; it gets requests by `eaves reconcile`, `eaves rollout` or `eaves promote`" if waits else ""
        text = f"{text}; {describe_outcome(updated.outcome)}{more}"
    return f"{text}\n{updated.note}" if updated.note else text


def diff_sites(order: DeployRequest) -> list[SiteOutcome[list[str]]]:
    """What a deploy would change at each chosen site, line by line.

    Raises:
        EavesError: What went wrong at the only site.
    """
    from knative.deploy.diff import diff_app
    from knative.deploy.pins import add_pins, keep_pins
    from knative.render.rendering import render_app

    def diff(visit: SiteVisit) -> list[str]:
        wanted, cluster = order.wanted(visit.site), visit.cluster()
        manifests = add_pins(cluster, render_app(wanted.app, wanted.knative, visit.site), wanted.app)
        return list(diff_app(cluster, manifests, wanted.owner, needed=keep_pins(wanted.app.function.name, manifests)))

    return visit_sites(order.scope, order.choice, diff)


def _ask_before_adopting(order: DeployRequest, *, yes: bool) -> None:
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
def _live_table() -> Iterator[Callable[[DeploymentProgress], None]]:
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

        def show(progress: DeploymentProgress) -> None:
            table = Table("WHAT", "STATE", "DETAIL", box=box.SIMPLE_HEAD, pad_edge=False)
            for row in progress.rows():
                table.add_row(*(escape(row[key], keep="") for key in ("what", "state", "detail")))
            live.update(table, refresh=True)

        yield show


def _lines() -> Callable[[DeploymentProgress], None]:
    said: list[Sequence[str]] = []

    def show(progress: DeploymentProgress) -> None:
        lines = [" ".join(filter(None, row.values())) for row in progress.rows()]
        if [lines] != said[-1:]:
            said.append(lines)
            for line in lines:
                say(line)

    return show
