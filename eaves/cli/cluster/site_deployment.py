"""Deployment of a container image to sites, for `eaves deploy --on knative` and `eaves reconcile`."""

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
from eaves.errors import StartError

if TYPE_CHECKING:
    from knative.client.cluster import Cluster
    from knative.deploy.function_image import FunctionImage
    from knative.deploy.inventory import DeploymentRecord
    from knative.deploy.site_update import SiteDeployment, SiteUpdate
    from knative.multi_site import SiteOutcome
    from knative.readiness.progress import DeploymentProgress
    from knative.settings import SiteSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployRequest:
    """A request to deploy a container image to the chosen sites.

    Attributes:
        workspace: The project.
        scope: Settings of clusters in eaves.yaml.
        image: The container image; None when `reconcile` has no image to deploy.
        choice: Values of the options that select sites.
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
        """Build the deployment for one site from this request.

        `image` replaces the container image of the request, and `how` has further options of `SiteDeployment`.
        """
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
    """Build a request from the options of a command, and check eaves.yaml before any site is changed.

    Args:
        image: Name of the container image; empty when none is given.
        file: Path of eaves.yaml.
        choice: Values of the options that select sites.
        key: Public key file that must verify the image's signature; None requires no signature.
        offline: Whether to connect to no registry.
        plain_http: Whether to connect to registries without TLS.
        registry_ca: PEM file of certificate authorities that are trusted for registries.
        kept: Whether the image deployed last from this workspace takes precedence over that in eaves.yaml, and whether
            both may be missing.

    Raises:
        EavesError: When no site can be chosen, the container image can't be used, or eaves.yaml has faults.
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
    """Deploy the request's container image to the chosen sites.

    Raises:
        EavesError: When the function doesn't become ready at the only site, or when the deploy failed or wasn't started
            at one of several sites.
    """
    given = [name for name, value in (("--wait", wait), ("--detach", detach), ("--dry-run", dry_run)) if value]
    if len(given) > 1:
        raise click.UsageError(f"{' and '.join(given)} exclude each other.")
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

        try:
            if not visit.alone:
                return _finish(visit, cluster, update_site(cluster, site, wanted, taken=taken))
            with _live_table() as show:
                updated = update_site(cluster, site, wanted, show=show, tell=say, taken=taken)
        except StartError:
            if wait and (retried := visit.retry_refused(cluster, order.workspace.project.name)):
                say(f"{site.name}: {retried}")
            raise
        return _finish(visit, cluster, replace(updated, note=""))  # `update_site` has printed the note already

    _run(order, deploy, parallel=parallel, max_failures=max_failures)
    click.echo(order.workspace.project.name)


def reconcile_sites(order: DeployRequest, *, named: bool, parallel: int, max_failures: int | None, form: str) -> None:
    """Advance each chosen site by one step towards the deployment in its cluster's record.

    Args:
        order: The request; its container image goes to sites where it is pending.
        named: Whether the container image was named on the command line; it is then noted as a deploy to the sites.
        parallel: Number of sites that are worked on at the same time.
        max_failures: Number of sites that may fail: after one more failure no further site is started. None for no
            limit.
        form: Format of the table: `table`, `json` or `yaml`.

    Raises:
        EavesError: When the step fails at the only site, or when it failed or wasn't started at one of several sites.
    """
    if order.image is not None and named:
        note_deploy(order.workspace, order.image, order.sites)
    note, project = load_note(order.workspace), order.workspace.project

    def reconcile(visit: SiteVisit) -> SiteUpdate:
        from knative.deploy.reconcile import WantedDeployment, WorkspaceMemory, reconcile_site

        memory = note.site(visit.site) if note is not None else WorkspaceMemory()
        wish = WantedDeployment(site=visit.site.name, image=order.image, declared=project.knative.image, memory=memory)
        cluster = visit.cluster()
        updated = reconcile_site(
            cluster,
            visit.site,
            project.name,
            wish,
            lambda image: order.wanted(visit.site, image=image),
            agreed=lambda last: note_agreement(order.workspace, visit.site, last, memory.pending),
        )
        return _finish(visit, cluster, updated)

    _run(order, reconcile, parallel=parallel, max_failures=max_failures, form=form)


def _finish(visit: SiteVisit, cluster: Cluster, updated: SiteUpdate) -> SiteUpdate:
    """Queue the images again that replaced revisions refused, and note that in a site's update."""
    if updated.outcome is None or updated.outcome.state is None or not updated.outcome.state.to_retry:
        return updated
    retried = visit.retry_refused(cluster, updated.outcome.name)
    return replace(updated, note="\n".join(filter(None, (updated.note, retried))))


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
        describe=describe_update,
        form=form,
    )


def describe_update(updated: SiteUpdate) -> str:
    """Return the result of an update of a site as one line, and its note, if it has one, as a second line."""
    from knative.deploy.site_update import describe_outcome
    from knative.rollout import RolloutPhase

    counts: dict[str, int] = {}
    for one in updated.applied:
        counts[one.outcome] = counts.get(one.outcome, 0) + 1
    text = ", ".join(f"{count} {outcome}" for outcome, count in counts.items()) or "nothing applied"
    if updated.outcome is not None:
        state = updated.outcome.state
        waits = state is not None and state.phase is RolloutPhase.ADVANCING
        more = "; run `eaves reconcile`, `eaves rollout` or `eaves promote` to give it requests" if waits else ""
        text = f"{text}; {describe_outcome(updated.outcome)}{more}"
    return f"{text}\n{updated.note}" if updated.note else text


def diff_sites(order: DeployRequest) -> list[SiteOutcome[list[str]]]:
    """Return the changes that a deploy would make at each chosen site, as lines of a diff.

    Raises:
        EavesError: When the only site can't be compared.
    """
    from knative.deploy.apply import diff_app
    from knative.render.rendering import render_app

    def diff(visit: SiteVisit) -> list[str]:
        wanted, cluster = order.wanted(visit.site), visit.cluster()
        return list(diff_app(cluster, render_app(wanted.app, wanted.knative, visit.site), wanted.owner))

    return visit_sites(order.scope, order.choice, diff)


def _ask_before_adopting(order: DeployRequest, *, yes: bool) -> None:
    """Show the changes that `eaves deploy --adopt` makes to objects of other owners, and ask for confirmation.

    A site that can't be reached is shown with its error, because the deploy doesn't change it either.

    Raises:
        click.Abort: When the answer is no.
    """
    for outcome in diff_sites(order):
        for line in outcome.result or ([f"{outcome.site}: {outcome.error}"] if outcome.error else []):
            say(line)
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("--adopt asks for confirmation, and stdin is no terminal; add --yes.")
        click.confirm("Take over these objects?", abort=True, err=True)


@contextmanager
def _live_table() -> Iterator[Callable[[DeploymentProgress], None]]:
    """Show the progress of a deployment: a table that is redrawn on a terminal, otherwise a line for each change.

    Yields:
        A function that is called with each new state.
    """
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
