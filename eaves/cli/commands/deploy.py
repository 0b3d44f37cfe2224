"""The command `eaves deploy`, which deploys a model on this machine or at sites."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from eaves.cli.app import build_local_app
from eaves.cli.latest import ARTIFACT, find_latest, newest
from eaves.cli.output import describe_count, describe_kept, replay_with_progress, say
from eaves.cli.registry import ImageChoice, image_options
from eaves.cli.site import Place, place_options
from eaves.errors import ArtifactError

if TYPE_CHECKING:
    from eaves.local.specs import LocalApp
    from eaves.local.state import StateDirectory

OF_CLUSTERS = (
    *("wait", "detach", "timeout", "adopt", "yes", "dry_run"),
    *("key", "offline", "plain_http", "registry_ca", "parallel", "max_failures"),
)
"""Options that have a meaning in clusters only, by the names of their parameters."""


@click.command()
@click.argument("what", metavar="[ARTIFACT|IMAGE]", default="")
@click.option(
    "--wait",
    is_flag=True,
    help="Wait until the rollout has ended, when the new revision has all requests or was rolled back.",
)
@click.option(
    "--detach", is_flag=True, help="Return after the objects are applied, without waiting until the function is ready."
)
@click.option(
    "--timeout",
    type=click.FloatRange(1, 86400),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="Maximum time until the function is ready.",
)
@click.option("--adopt", is_flag=True, help="Take over objects that kn or kubectl made, after the changes are shown.")
@click.option("--yes", is_flag=True, help="Don't ask before --adopt takes objects over.")
@click.option(
    "--dry-run",
    type=click.Choice(["server"]),
    help="Let the API server and its webhooks check the objects, without changing anything.",
)
@place_options("file", "state", "on", "all", "fleet")
@image_options
def command(what: str, place: Place, images: ImageChoice, **options: Any) -> None:
    """Deploy a model as a function. On this machine the model is ARTIFACT, by default the newest; `eaves up` runs it.

    At sites (--on knative) the model is IMAGE, the container image that `eaves package` pushed to a registry. The
    objects are applied by server-side apply, and the command waits until the function is ready. A redeploy becomes a
    new revision that gets no requests before `eaves rollout`, `eaves promote`, or its automatic rollout (--wait,
    `eaves reconcile`).

    On this machine, every digest is checked and every golden image replayed first; in a cluster each replica does so
    before it is ready. Prints the function's name.
    """
    if place.is_cluster:
        from eaves.cli.deployment import build_deploy_request, deploy_to_sites

        deploy_to_sites(build_deploy_request(what, place, images), **options)
        return
    source = click.get_current_context().get_parameter_source
    if given := [name for name in OF_CLUSTERS if source(name) is ParameterSource.COMMANDLINE]:
        raise click.UsageError(f"--{given[0].replace('_', '-')} is for clusters; add --on knative.")
    _deploy_here(find_latest(Path(what)) if what else None, place)


def _deploy_here(artifact: Path | None, place: Place) -> None:
    from eaves.artifact import open_artifact
    from eaves.local.client import LocalPlatform
    from eaves.local.state import StateDirectory

    workspace, state = place.workspace, StateDirectory(root=place.state_dir.absolute())
    chosen = artifact or newest(workspace.artifacts, ARTIFACT)
    if chosen is None:
        raise ArtifactError(f"{workspace.artifacts} holds no artifact to deploy", hint="eaves convert")
    opened = open_artifact(chosen.absolute(), level="full")
    app = build_local_app(workspace, opened)
    state.prepare()
    for result in replay_with_progress(opened, prepared=state.graphs):
        result.require()
    platform = LocalPlatform(place.state_dir)
    _report_removed(state, app)
    platform.deploy(app)
    click.echo(app.function.name)
    if not platform.running():
        say("deployed; `eaves up` is not running here, so start it to run the function")
        return
    say("deployed; `eaves up` runs the function")


def _report_removed(state: StateDirectory, app: LocalApp) -> None:
    """Print what happens to the queued events of each trigger that the deployment removes."""
    from eaves.local.queues import count_queued
    from eaves.platform import RELAY

    kept = {trigger.name for trigger in app.triggers} | ({RELAY} if app.relay.enabled else set())
    for trigger, count in count_queued(state, app.function.name).items():
        if trigger not in kept:
            say(
                f"trigger {trigger} is removed: {describe_count(count, 'queued event')} {describe_kept(count)} "
                "(`eaves queue list --dead`); they are delivered when the trigger is deployed again"
            )
