"""One step that brings a site to the deployment in the cluster's record, from any workspace.

The step is safe to run on a timer, from several places at once, and while a deploy runs.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from eaves.errors import ConflictError, EavesError, NotFoundError
from knative import rollout
from knative.deploy.deploy_sequence import ATTEMPTS, DeploymentHold, Manifests, image_of, is_rendered_alike, take_number
from knative.deploy.function_image import FunctionImage
from knative.deploy.objects.inventory import DeploymentRecord, Inventory, read_inventory
from knative.deploy.reconcile_decision import (
    ReconcileAction,
    ReconcileDecision,
    WantedDeployment,
    decide_differing,
    decide_reconcile,
)
from knative.deploy.rollout_advance import prune_after
from knative.deploy.site_update import SiteDeployment, SiteUpdate, apply_held, read_image
from knative.resources.rendering import render_app
from knative.settings import SiteSettings

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

Build = Callable[[FunctionImage], SiteDeployment]
Agreed = Callable[[DeploymentRecord], object]


def reconcile_site(
    cluster: Cluster,
    site: SiteSettings,
    app: str,
    wish: WantedDeployment,
    build: Build,
    *,
    agreed: Agreed = lambda last: None,
) -> SiteUpdate:
    """Apply the recorded deployment, correct objects that were changed, and advance the rollout by one step.

    Args:
        cluster: Connection to the site's cluster.
        site: The site.
        app: Name of the app.
        wish: The deployment that this workspace (a directory with an eaves.yaml) wants at the site.
        build: Function that builds the site's deployment for a container image.
        agreed: Function that is called with the deployment when the workspace and the cluster want the same.

    Raises:
        ConfigError: When eaves.yaml lacks a setting that a cluster needs.
        ConflictError: When another manager owns a field that would change.
        ClusterError: When a request to the cluster is refused or fails.
    """
    for _ in range(ATTEMPTS):
        inventory = read_inventory(cluster, app)
        try:
            return _step(cluster, site, inventory, wish, build, agreed)
        except ConflictError as error:
            if error.causes or read_inventory(cluster, app).deployment == inventory.deployment:
                raise
    raise ConflictError(
        f"{cluster.name}: other users keep deploying {app}; nothing was applied",
        hint=f"eaves reconcile --site {site.name}   # after they have finished",
    )


def _step(
    cluster: Cluster, site: SiteSettings, inventory: Inventory, wish: WantedDeployment, build: Build, agreed: Agreed
) -> SiteUpdate:
    app, last = inventory.app, inventory.deployment
    decision = decide_reconcile(last, read_image(cluster, app) if last is None else "", wish)
    if decision.verb is ReconcileAction.KEEP and last is not None:
        wanted = build(image_of(last))
        manifests = render_app(wanted.app, wanted.knative, site)
        if is_rendered_alike(last, manifests):
            if decision.agreed:
                agreed(last)
            hold = DeploymentHold(app=app, site=site.name, deployment=last, inventory=inventory)
            return _apply(cluster, wanted, manifests, hold, decision)
        if decision.agreed:
            decision = decide_differing(last, image_of(last), wish)
    if decision.verb is not ReconcileAction.BRING or decision.image is None:
        return SiteUpdate(applied=(), outcome=_advance_if_there(cluster, app), note=decision.reason)
    wanted = build(decision.image)
    manifests = render_app(wanted.app, wanted.knative, site)
    hold = take_number(cluster, app, wanted.intent(manifests), seen=inventory)
    agreed(hold.deployment)
    return _apply(cluster, wanted, manifests, hold, decision)


def _apply(
    cluster: Cluster, wanted: SiteDeployment, manifests: Manifests, hold: DeploymentHold, decision: ReconcileDecision
) -> SiteUpdate:
    name = wanted.app.function.name
    try:
        applied = apply_held(cluster, manifests, wanted, hold)
    except EavesError:
        with suppress(EavesError):  # the serving revisions are judged even when other objects can't be applied
            rollout.advance_rollout(cluster, name)
        raise
    outcome = rollout.advance_rollout(cluster, name, settings=wanted.rollout)
    return SiteUpdate(applied=(*applied, *prune_after(cluster, outcome)), outcome=outcome, note=decision.reason)


def _advance_if_there(cluster: Cluster, app: str) -> rollout.RolloutOutcome | None:
    try:
        outcome = rollout.advance_rollout(cluster, app)
    except NotFoundError:
        return None
    prune_after(cluster, outcome)
    return outcome
