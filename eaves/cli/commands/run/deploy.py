"""The command `eaves deploy`, which deploys a model on this machine or at sites."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from eaves.cli.app.app_specs import build_local_app
from eaves.cli.app.project import load_workspace
from eaves.cli.cluster.container_images import image_options
from eaves.cli.cluster.multi_site import fleet_options
from eaves.cli.cluster.platform_options import cluster_options, on_option, read_choice
from eaves.cli.display.output import say
from eaves.cli.golden_replay import replay_with_progress
from eaves.cli.latest import ARTIFACT, find_latest, newest
from eaves.cli.link.link_status import wait_for_link
from eaves.cli.link.site_name import warn_of_waiting
from eaves.cli.shared_options import file_option, state_option
from eaves.errors import ArtifactError

if TYPE_CHECKING:
    from eaves.artifact import Artifact
    from eaves.local.specs import LocalApp


@click.command()
@click.argument("what", metavar="[ARTIFACT|IMAGE]", default="")
@file_option
@state_option
@on_option
@cluster_options
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
@image_options
@fleet_options
def command(what: str, file: Path, state_dir: Path, **options: Any) -> None:
    """Deploy a model as a function. On this machine the model is ARTIFACT, by default the newest; `eaves up` runs it.

    At sites (--on knative) the model is IMAGE, the container image that `eaves package` pushed to a registry. The
    objects are applied by server-side apply, and the command waits until the function is ready. A redeploy becomes a
    new revision that gets no requests before `eaves rollout`, `eaves promote`, or its automatic rollout (--wait,
    `eaves reconcile`).

    On this machine, every digest is checked and every golden image replayed first; in a cluster each replica does so
    before it is ready. Prints the function's name.
    """
    clusters = {
        name: options.pop(name) for name in ("kubeconfig", "context", "namespace", "sites", "every", "platform")
    }
    choice = read_choice(**clusters)
    if choice.knative:
        from eaves.cli.cluster.site_deployment import build_deploy_request, deploy_to_sites

        named = {name: options.pop(name) for name in ("key", "offline", "plain_http", "registry_ca")}
        deploy_to_sites(build_deploy_request(what, file, choice, **named), **options)
        return
    source = click.get_current_context().get_parameter_source
    given = [name for name in options if source(name) is ParameterSource.COMMANDLINE]
    if given:
        raise click.UsageError(f"--{given[0].replace('_', '-')} is for clusters; add --on knative.")
    _deploy_here(find_latest(Path(what)) if what else None, file, state_dir)


def _deploy_here(artifact: Path | None, file: Path, state_dir: Path) -> None:
    from eaves.artifact import open_artifact
    from eaves.local.client import LocalPlatform

    workspace = load_workspace(file)
    chosen = artifact or newest(workspace.artifacts, ARTIFACT)
    if chosen is None:
        raise ArtifactError(f"{workspace.artifacts} holds no artifact to deploy", hint="eaves convert")
    opened = open_artifact(chosen.absolute(), level="full")
    app = build_local_app(workspace, opened)
    for result in replay_with_progress(opened):
        result.require()
    platform = LocalPlatform(state_dir)
    _prepare_graph(opened, state_dir)
    warn_of_waiting(state_dir, app)
    _report_removed(state_dir, app)
    platform.deploy(app)
    click.echo(app.function.name)
    if not platform.running():
        say("deployed; `eaves up` is not running here, so start it to run the function")
        return
    say("deployed; `eaves up` runs the function")
    if app.relay.enabled:
        say(f"link: {wait_for_link(platform, app.function.name)}")


def _prepare_graph(artifact: Artifact, state_dir: Path) -> None:
    """Prepare the graph for this machine's CPU; a failure is a warning, because the artifact's own graph suffices."""
    from eaves.inference.graph_preparation import prepare_in_child
    from eaves.local.state import StateDirectory

    state = StateDirectory(root=state_dir.absolute())
    state.prepare()
    try:
        prepare_in_child(artifact, state.graphs)
    except ArtifactError as error:
        say(f"warning: {error.message}; the function starts without a prepared graph, which takes longer")


def _report_removed(state_dir: Path, app: LocalApp) -> None:
    """Print what happens to the queued events of each trigger that the deployment removes."""
    from eaves.local.queues import count_queued
    from eaves.local.state import StateDirectory
    from eaves.platform import RELAY

    kept = {trigger.name for trigger in app.triggers} | ({RELAY} if app.relay.enabled else set())
    for trigger, count in count_queued(StateDirectory(root=state_dir), app.function.name).items():
        if trigger in kept:
            continue
        events, are = ("event", "is kept as a dead letter") if count == 1 else ("events", "are kept as dead letters")
        it, is_ = ("it", "is") if count == 1 else ("they", "are")
        say(
            f"trigger {trigger} is removed: {count:,} queued {events} {are} (`eaves queue list --dead`); "
            f"{it} {is_} delivered when the trigger is deployed again"
        )
