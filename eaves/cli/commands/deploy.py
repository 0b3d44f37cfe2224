"""The commands `eaves deploy`, `diff`, `render`, `reconcile` and `remove`: a model on this machine or at sites."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from eaves.cli.app import build_local_app, build_site_app, build_training, warn_of_attributes, warn_of_types
from eaves.cli.container_image import ImageChoice, forget_sites, image_options
from eaves.cli.deployment import choose_image, deploy_to_sites, diff_sites, reconcile_sites
from eaves.cli.output import (
    confirm,
    output_option,
    print_line,
    print_manifests,
    replay_with_progress,
    say,
)
from eaves.cli.project import ARTIFACT, DIRECTORY, find_latest, newest
from eaves.cli.site import Place, Visit, place_options
from eaves.errors import ArtifactError, EavesError, PlatformError

OF_CLUSTERS = (
    *("wait", "detach", "timeout", "adopt", "yes"),
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
@click.option(
    "--canary",
    is_flag=True,
    help="On this machine, keep the present model, and give this one shares of the requests until it is promoted or "
    "rolled back (section `rollout`).",
)
@click.option("--adopt", is_flag=True, help="Take over objects that kn or kubectl made, after the changes are shown.")
@click.option("--yes", is_flag=True, help="Don't ask before --adopt takes objects over.")
@place_options("file", "state", "on", "all", "fleet")
@image_options
def deploy(what: str, place: Place, images: ImageChoice, canary: bool, **options: Any) -> None:
    """Deploy a model as a function. On this machine the model is ARTIFACT, by default the newest; `eaves up` runs it.

    At sites (--on knative) the model is IMAGE, the container image that `eaves package` pushed to a registry. The
    objects are applied by server-side apply, and the command waits until the function is ready. A redeploy becomes a
    new revision that gets no requests before `eaves rollout`, `eaves promote`, or its automatic rollout (--wait,
    `eaves reconcile`).

    On this machine, every digest is checked and every golden image replayed first; in a cluster each replica does so
    before it is ready. Prints the function's name.
    """
    if place.is_cluster:
        if canary:
            raise click.UsageError("--canary is for this machine; in a cluster, each deploy begins with no request.")
        deploy_to_sites(place, choose_image(what, place, images), **options)
        return
    source = click.get_current_context().get_parameter_source
    if given := [name for name in OF_CLUSTERS if source(name) is ParameterSource.COMMANDLINE]:
        raise click.UsageError(f"--{given[0].replace('_', '-')} is for clusters; add --on knative.")
    _deploy_here(find_latest(Path(what)) if what else None, place, canary=canary)


def _deploy_here(artifact: Path | None, place: Place, *, canary: bool) -> None:
    from eaves.artifact import open_artifact
    from eaves.local.client import LocalPlatform
    from eaves.local.state import StateDirectory

    workspace, state = place.workspace, StateDirectory(root=place.state_dir.absolute())
    chosen = artifact or newest(workspace.artifacts, ARTIFACT)
    if chosen is None:
        raise ArtifactError(f"{workspace.artifacts} holds no artifact to deploy", hint="eaves convert")
    opened = open_artifact(chosen.absolute(), level="full")
    app = build_local_app(workspace, opened)
    warn_of_types(workspace, app.function.replied)
    state.prepare()
    for result in replay_with_progress(opened, prepared=state.graphs):
        result.require()
    platform = LocalPlatform(place.state_dir)
    platform.deploy(app, canary=workspace.project.rollout if canary else None)
    click.echo(app.function.name)
    if not platform.running():
        say("deployed; `eaves up` is not running here, so start it to run the function")
        return
    say("deployed; `eaves up` runs the function" + ("; follow its shares with `eaves rollout`" if canary else ""))


@click.command()
@click.argument("image", metavar="[IMAGE]", default="")
@place_options("file", "on", "all")
@image_options
def diff(image: str, place: Place, images: ImageChoice) -> None:
    """Show the changes that `eaves deploy IMAGE --on knative` would make to the objects at each site.

    The API server computes them, and changes nothing. The command ends with exit code 1 when there are changes.
    """
    outcomes = diff_sites(place, choose_image(image, place, images))
    for outcome in outcomes:
        if outcome.result and len(outcomes) > 1:
            print_line(f"# {outcome.site}")
        for line in outcome.result or ():
            print_line(line)
        if outcome.error is not None:
            say(f"{outcome.site}: {outcome.error}")
    place.report(outcomes, "eaves diff")
    if any(outcome.result for outcome in outcomes):
        raise EavesError("objects in the cluster differ from those of a deploy", hint="eaves deploy --on knative")
    say("a deploy would change nothing")


@click.command()
@click.argument("image", metavar="[IMAGE]", default="")
@click.option(
    "--output",
    "folder",
    type=DIRECTORY,
    help="Folder to write one file for each object into, below a folder for each site when there are several.",
)
@click.option(
    "--training",
    type=click.Choice(["job", "pipeline", "jobsink"]),
    help="Write a training instead: a training Job (job), a pipeline from training to the published model (pipeline), "
    "or a JobSink that starts one when a data set has changed (jobsink), for the cluster in the section `job`.",
)
@place_options("file", "all")
@image_options
def render(image: str, folder: Path | None, training: str | None, place: Place, images: ImageChoice) -> None:
    """Write the Kubernetes objects that `eaves deploy --on knative IMAGE` would apply, as YAML.

    kubectl, kn, Argo CD and Flux apply the objects unchanged. Prints YAML, or with --output the paths of the files.
    """
    from knative.resources.rendering import advise_relay_secret, render_app

    workspace = place.workspace
    if training:
        from knative.training.job import render_training

        print_manifests({"": render_training(build_training(workspace, namespace=place.namespace), training)}, folder)
        return
    project, sites = workspace.project, place.chosen  # before a registry is asked
    chosen = images.require(workspace, image)
    warn_of_attributes(workspace)
    rendered = {site.name: render_app(build_site_app(project, chosen, site)) for site in sites}
    advice = [advise_relay_secret(project.relay, site) for site in sites if project.relay.enabled]
    print_manifests(rendered, folder, advice)


@click.command()
@click.argument("image", metavar="[IMAGE]", default="")
@place_options("file", "all", "fleet")
@image_options
@output_option
def reconcile(image: str, place: Place, images: ImageChoice, form: str) -> None:
    """Continue the deployment and rollout of each chosen site by one step. Safe to run from a timer on any machine.

    The record of the last deploy in each cluster says what is wanted there; objects that differ from it are corrected.
    A site that a deploy from this workspace couldn't reach gets that deploy now (or IMAGE), unless somebody else has
    deployed there since: a newer deploy is never reverted. A rollout whose revision does well gets its next share of
    requests; one whose revision does not is rolled back. Without an eaves.yaml, the command only continues the rollouts
    of all functions in the namespace.
    """
    if place.file.exists():
        reconcile_sites(place, choose_image(image, place, images, kept=True), named=bool(image), form=form)
    else:
        place.run(_advance_all, again="eaves reconcile", form=form)


def _advance_all(visit: Visit) -> str:
    """Continue each rollout in a namespace by one step, and return the state of each, one line each.

    Raises:
        PlatformError: When the step of one or several rollouts failed; the message also has the states of the others.
    """
    from knative.deploy.site_update import advance_all, describe_outcome

    cluster = visit.cluster()
    steps = advance_all(cluster)
    failed = [(name, step) for name, step in steps.items() if isinstance(step, EavesError)]
    lines = [
        f"{name}: {describe_outcome(one, visit.site)}" for name, one in steps.items() if not isinstance(one, EavesError)
    ]
    if not failed:
        return "\n".join(lines) or "the namespace has no functions"
    report = [f"{len(failed)} of {len(steps)} rollouts can't be advanced:"]
    report += [f"{name}: {error.message}" + (f" (try: {error.hint})" if error.hint else "") for name, error in failed]
    report += ["the others are advanced:", *lines] if lines else []
    raise PlatformError("\n".join(report))


@click.command()
@click.argument("name")
@place_options("state", "file", "on", "all", "fleet")
@click.option(
    "--adopt",
    is_flag=True,
    help="In a cluster, also delete objects that `eaves render` wrote and kubectl applied, after showing them.",
)
@click.option("--yes", is_flag=True, help="Don't ask before deleting what --adopt shows.")
def remove(name: str, place: Place, adopt: bool, yes: bool) -> None:
    """Remove function NAME with its triggers and sources. Its artifact, logs and dead letters stay.

    In a cluster, the objects that `eaves deploy` applied and recorded in its inventory are deleted. Volumes with images
    that the broker hasn't taken yet stay. Only `eaves deploy` brings the function back to the site; `eaves reconcile`
    does not.
    """
    if not place.is_cluster:
        if adopt:
            raise click.UsageError("--adopt is for clusters; add --on knative.")
        from eaves.local.client import LocalPlatform

        LocalPlatform(place.state_dir).remove(name)
        say(f"removed {name}; `eaves queue` lists what still waits for it, which stays until {name} is deployed again")
        return
    if adopt:
        for outcome in place.visit(lambda visit: visit.platform().find_removable(name, adopt=True)):
            for line in outcome.result or ([str(outcome.error)] if outcome.error else []):
                say(f"{outcome.site}: {line}")
        confirm("Delete these objects?", yes=yes, asks="--adopt")
    if name == place.project.name:
        forget_sites(place.workspace, place.chosen)

    def remove(visit: Visit) -> str:
        visit.platform().remove(name, adopt=adopt)
        return f"removed {name}"

    place.run(remove, again=f"eaves remove {name}" + (" --adopt" if adopt else ""))
