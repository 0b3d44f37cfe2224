"""Deployment of a container image to sites, for `eaves deploy --on knative`, `reconcile`, `diff` and `render`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from eaves.cli.app import build_site_app, warn_of_attributes, warn_of_types
from eaves.cli.container_image import ImageChoice, load_note, note_agreement, note_deploy
from eaves.cli.output import confirm, say
from eaves.cli.site import Place, Visit, name_person

if TYPE_CHECKING:
    from knative.deploy.site_update import SiteDeployment, SiteUpdate
    from knative.inventory import DeploymentRecord, FunctionImage
    from knative.multi_site import SiteOutcome
    from knative.settings import SiteSettings
    from knative.status.readiness import Rows


def build_deployment(
    place: Place, site: SiteSettings, image: FunctionImage | None, *, ready_s: float = 0.0, **how: bool
) -> SiteDeployment:
    """Build the deployment of a container image to one site; `how` has further options of `SiteDeployment`.

    The image is None when `reconcile` has none to deploy.
    """
    from knative.deploy.site_update import SiteDeployment
    from knative.inventory import FunctionImage

    project = place.project
    chosen = image or FunctionImage(name=f"eaves.invalid/none@sha256:{'0' * 64}")
    return SiteDeployment(
        app=build_site_app(project, chosen, site),
        rollout=project.rollout,
        by=name_person(),
        declared=project.knative.image,
        ready_s=ready_s,
        **how,
    )


def choose_image(named: str, place: Place, images: ImageChoice, *, kept: bool = False) -> FunctionImage | None:
    """Return the container image that a command deploys, and check eaves.yaml before any site is changed.

    Args:
        named: Name of the container image; empty when none is given.
        place: The sites.
        images: The options that choose the container image.
        kept: Whether the image deployed last from this workspace takes precedence over that in eaves.yaml, and whether
            both may be missing, which gives None.

    Raises:
        EavesError: When no site can be chosen, the container image can't be used, or eaves.yaml has faults.
    """
    from knative.resources.rendering import render_app

    workspace, sites = place.workspace, place.chosen  # before a registry is asked
    image = images.choose(workspace, named, kept=True) if kept else images.require(workspace, named)
    warn_of_attributes(workspace)
    if image is not None and image.artifact_digest:  # else no registry was asked, and the task isn't known
        warn_of_types(workspace, build_site_app(workspace.project, image, sites[0]).function.replied)
    for site in sites:  # what is wrong with eaves.yaml is printed once, and before any site is changed
        render_app(build_deployment(place, site, image).app)
    return image


def deploy_to_sites(
    place: Place,
    image: FunctionImage | None,
    *,
    wait: bool,
    detach: bool,
    timeout: float,
    adopt: bool,
    yes: bool,
) -> None:
    """Deploy a container image to the chosen sites.

    Raises:
        EavesError: When the function doesn't become ready at the only site, or when the deploy failed or wasn't started
            at one of several sites.
    """
    if wait and detach:
        raise click.UsageError("--wait and --detach exclude each other.")
    if adopt:
        for outcome in diff_sites(place, image):
            for line in outcome.result or ([f"{outcome.site}: {outcome.error}"] if outcome.error else []):
                say(line)
        confirm("Take over these objects?", yes=yes, asks="--adopt")
    if image is not None:
        note_deploy(place.workspace, image, place.chosen)

    def deploy(visit: Visit) -> str:
        from knative.deploy.site_update import update_site

        cluster, site = visit.cluster(), visit.site
        ready_s = 0.0 if detach else timeout
        wanted = build_deployment(place, site, image, ready_s=ready_s, adopt=adopt, follow=wait)

        def taken(deployment: DeploymentRecord) -> None:
            note_agreement(place.workspace, site, deployment, image)

        if not visit.is_alone:
            return describe_update(update_site(cluster, wanted, taken=taken), site)
        updated = update_site(cluster, wanted, show=_show_changes(), notify=say, taken=taken)
        return describe_update(replace(updated, note=""), site)  # `update_site` has printed the note already

    place.run(deploy, again="eaves reconcile")
    click.echo(place.project.name)


def reconcile_sites(place: Place, image: FunctionImage | None, *, named: bool, form: str) -> None:
    """Advance each chosen site by one step towards the deployment in its cluster's record.

    Args:
        place: The sites.
        image: Container image for sites where it is pending; None when there is none.
        named: Whether the container image was named on the command line; it is then noted as a deploy to the sites.
        form: Format of the table: `table`, `json` or `yaml`.

    Raises:
        EavesError: When the step fails at the only site, or when it failed or wasn't started at one of several sites.
    """
    if image is not None and named:
        note_deploy(place.workspace, image, place.chosen)
    note, project = load_note(place.workspace), place.project

    def reconcile(visit: Visit) -> str:
        from knative.deploy.site_update import WantedDeployment, reconcile_site
        from knative.inventory import WorkspaceMemory

        memory, cluster, site = note.site(visit.site) if note else WorkspaceMemory(), visit.cluster(), visit.site
        wish = WantedDeployment(site=site.name, image=image, declared=project.knative.image, memory=memory)
        updated = reconcile_site(
            cluster,
            site,
            project.name,
            wish,
            lambda image: build_deployment(place, site, image),
            agreed=lambda last: note_agreement(place.workspace, site, last, memory.pending),
        )
        return describe_update(updated, site)

    place.run(reconcile, again="eaves reconcile", form=form)


def describe_update(updated: SiteUpdate, site: SiteSettings) -> str:
    """Return the result of an update of a site as one line, and its note, if it has one, as a second line."""
    from eaves.rollout import RolloutPhase
    from knative.deploy.site_update import describe_outcome

    counts = Counter(one.outcome for one in updated.applied)
    text = ", ".join(f"{count} {outcome}" for outcome, count in counts.items()) or "nothing applied"
    if updated.outcome is not None:
        state, shares = updated.outcome.state, updated.outcome.shares
        waits = state is not None and state.phase is RolloutPhase.ADVANCING and not shares.get(state.new)
        more = "; run `eaves reconcile`, `eaves rollout` or `eaves promote` to give it requests" if waits else ""
        text = f"{text}; {describe_outcome(updated.outcome, site)}{more}"
    return f"{text}\n{updated.note}" if updated.note else text


def diff_sites(place: Place, image: FunctionImage | None) -> list[SiteOutcome[list[str]]]:
    """Return the changes that a deploy would make at each chosen site, as lines of a diff.

    Raises:
        EavesError: When the only site can't be compared.
    """
    from knative.deploy.apply import diff_app
    from knative.resources.rendering import render_app

    def diff(visit: Visit) -> list[str]:
        wanted, cluster = build_deployment(place, visit.site, image), visit.cluster()
        return list(diff_app(cluster, render_app(wanted.app), wanted.owner))

    return place.visit(diff)


def _show_changes() -> Callable[[Rows], None]:
    """Return a function that prints the lines of a deployment's progress that it hasn't printed yet."""
    shown: dict[str, str] = {}

    def show(rows: Rows) -> None:
        for row in rows:
            line = " ".join(filter(None, row.values()))
            if shown.get(row["what"]) != line:
                shown[row["what"]] = line
                say(line)

    return show
