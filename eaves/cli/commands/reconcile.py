"""The command `eaves reconcile`, which continues deployments and rollouts at sites."""

from __future__ import annotations

import click

from eaves.cli.deployment import build_deploy_request, reconcile_sites
from eaves.cli.output import output_option
from eaves.cli.registry import ImageChoice, image_options
from eaves.cli.site import Place, Visit, place_options
from eaves.errors import EavesError, PlatformError


@click.command()
@click.argument("image", metavar="[IMAGE]", default="")
@place_options("file", "all", "fleet")
@image_options
@output_option
def command(image: str, place: Place, images: ImageChoice, form: str) -> None:
    """Continue the deployment and rollout of each chosen site by one step. Safe to run from a timer on any machine.

    The record of the last deploy in each cluster says what is wanted there; objects that differ from it are corrected.
    A site that a deploy from this workspace couldn't reach gets that deploy now (or IMAGE), unless somebody else has
    deployed there since: a newer deploy is never reverted. A rollout whose revision does well gets its next share of
    requests; one whose revision does not is rolled back. Without an eaves.yaml, the command only continues the rollouts
    of all functions in the namespace.
    """
    if place.file.exists():
        reconcile_sites(build_deploy_request(image, place, images, kept=True), named=bool(image), form=form)
    else:
        place.run(_advance_all, again="eaves reconcile", form=form)


def _advance_all(visit: Visit) -> str:
    """Continue each rollout in a namespace by one step, and return the state of each, one line each.

    Raises:
        PlatformError: When the step of one or several rollouts failed; the message also has the states of the others.
    """
    from knative.deploy.reconcile import advance_all

    cluster = visit.cluster()
    steps = advance_all(cluster)
    failed = [(name, step) for name, step in steps.items() if isinstance(step, EavesError)]
    lines = [f"{name}: {visit.finish(cluster, one)}" for name, one in steps.items() if not isinstance(one, EavesError)]
    if not failed:
        return "\n".join(lines) or "the namespace has no functions"
    report = [f"{len(failed)} of {len(steps)} rollouts can't be advanced:"]
    report += [f"{name}: {error.message}" + (f" (try: {error.hint})" if error.hint else "") for name, error in failed]
    report += ["the others are advanced:", *lines] if lines else []
    raise PlatformError("\n".join(report))
