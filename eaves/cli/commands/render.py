"""The command `eaves render`, which writes the Kubernetes objects of a deployment as YAML."""

from __future__ import annotations

from pathlib import Path

import click

from eaves.cli.app import build_site_app, warn_of_attributes
from eaves.cli.output import print_manifests
from eaves.cli.registry import ImageChoice, image_options
from eaves.cli.site import Place, place_options


@click.command()
@click.argument("image", metavar="[IMAGE]", default="")
@click.option(
    "--output",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
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
def command(image: str, folder: Path | None, training: str | None, place: Place, images: ImageChoice) -> None:
    """Write the Kubernetes objects that `eaves deploy --on knative IMAGE` would apply, as YAML.

    kubectl, kn, Argo CD and Flux apply the objects unchanged. Prints YAML, or with --output the paths of the files.
    """
    from knative.resources.faults import advise_relay_secret
    from knative.resources.rendering import render_app

    workspace = place.workspace
    if training:
        from eaves.cli.remote_training import build_training
        from knative.training.job import render_training

        print_manifests({"": render_training(build_training(workspace, namespace=place.namespace), training)}, folder)
        return
    project, sites = workspace.project, place.chosen  # before a registry is asked
    chosen = images.require(workspace, image)
    warn_of_attributes(workspace)
    rendered = {site.name: render_app(build_site_app(project, chosen, site)) for site in sites}
    advice = [advise_relay_secret(project.relay, site) for site in sites if project.relay.enabled]
    print_manifests(rendered, folder, advice)
