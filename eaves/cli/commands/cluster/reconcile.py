"""The command `eaves reconcile`, which continues deployments and rollouts at sites."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eaves.cli.cluster.container_images import image_options
from eaves.cli.cluster.multi_site import SiteVisit, fleet_options, run_on_sites
from eaves.cli.cluster.platform_options import PlatformChoice, cluster_options, load_scope, read_choice
from eaves.cli.cluster.site_deployment import build_deploy_request, reconcile_sites
from eaves.cli.display.output import output_option
from eaves.cli.shared_options import file_option
from eaves.errors import PlatformError

if TYPE_CHECKING:
    from knative.deploy.reconcile import RolloutStep
    from knative.rollout import RolloutOutcome


@click.command()
@click.argument("image", metavar="[IMAGE]", default="")
@file_option
@cluster_options
@image_options
@fleet_options
@output_option
def command(
    image: str, file: Path, key: Path | None, offline: bool, plain_http: bool, registry_ca: Path | None,
    parallel: int, max_failures: int | None, form: str, **clusters: Any,
) -> None:  # fmt: skip
    """Continue the deployment and rollout of each chosen site by one step. Safe to run from a timer on any machine.

    The record of the last deploy in each cluster says what is wanted there; objects that differ from it are corrected.
    A site that a deploy from this workspace couldn't reach gets that deploy now (or IMAGE), unless somebody else has
    deployed there since: a newer deploy is never reverted. A rollout whose revision does well gets its next share of
    requests; one whose revision does not is rolled back. Without an eaves.yaml, the command only continues the rollouts
    of all functions in the namespace.
    """
    choice = read_choice(**clusters)
    if not file.exists():
        _advance_all(file, choice, parallel=parallel, max_failures=max_failures, form=form)
        return
    order = build_deploy_request(
        image, file, choice, key=key, offline=offline, plain_http=plain_http, registry_ca=registry_ca, kept=True
    )
    reconcile_sites(order, named=bool(image), parallel=parallel, max_failures=max_failures, form=form)


def _advance_all(file: Path, choice: PlatformChoice, *, parallel: int, max_failures: int | None, form: str) -> None:
    def advance(visit: SiteVisit) -> str:
        from knative.deploy.reconcile import advance_all

        cluster = visit.cluster()
        return _describe_steps(advance_all(cluster), lambda outcome: visit.finish(cluster, outcome))

    run_on_sites(
        load_scope(file),
        choice,
        advance,
        again="eaves reconcile",
        parallel=parallel,
        max_failures=max_failures,
        form=form,
    )


def _describe_steps(steps: Sequence[RolloutStep], describe: Callable[[RolloutOutcome], str]) -> str:
    """Return the state of each rollout in a namespace, one line each.

    Raises:
        PlatformError: When the step of one or several rollouts failed; the message also has the states of the others.
    """
    lines = [f"{step.name}: {describe(step.outcome)}" for step in steps if step.outcome is not None]
    failed = [(step.name, step.error) for step in steps if step.error is not None]
    if not failed:
        return "\n".join(lines) or "the namespace has no functions"
    report = [f"{len(failed)} of {len(steps)} rollouts can't be advanced:"]
    report += [f"{name}: {error.message}" + (f" (try: {error.hint})" if error.hint else "") for name, error in failed]
    report += ["the others are advanced:", *lines] if lines else []
    raise PlatformError("\n".join(report))
