"""The command `eaves render`, which writes the Kubernetes objects of a deployment as YAML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from eaves.cli.app.app_specs import build_site_app
from eaves.cli.app.event_attributes import warn_of_attributes
from eaves.cli.app.project import load_workspace
from eaves.cli.cluster.container_images import choose_image, image_options
from eaves.cli.cluster.platform_options import choose_sites, cluster_options, load_scope, read_choice
from eaves.cli.display.output import say
from eaves.cli.shared_options import file_option


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
@file_option
@cluster_options
@image_options
def command(
    image: str, folder: Path | None, training: str | None, file: Path, key: Path | None, offline: bool,
    plain_http: bool, registry_ca: Path | None, **clusters: Any,
) -> None:  # fmt: skip
    """Write the Kubernetes objects that `eaves deploy --on knative IMAGE` would apply, as YAML.

    kubectl, kn, Argo CD and Flux apply the objects unchanged. Prints YAML, or with --output the paths of the files.
    """
    from knative.render.relay_faults import advise_relay_secret
    from knative.render.rendering import render_app

    workspace = load_workspace(file)
    if training:
        from eaves.cli.cluster.remote_training import render_remote

        _write({"": render_remote(workspace, training, namespace=clusters["namespace"])}, folder)
        return
    sites = choose_sites(load_scope(file).sites, read_choice(**clusters))
    chosen = choose_image(workspace, image, key=key, offline=offline, plain_http=plain_http, registry_ca=registry_ca)
    warn_of_attributes(workspace.project.triggers, workspace.origin, relay=workspace.project.relay)
    knative = workspace.project.knative
    rendered = {site.name: render_app(build_site_app(workspace.project, chosen, site), knative, site) for site in sites}
    _write(rendered, folder)
    relay = workspace.project.relay
    for site in sites if relay.enabled else ():
        say(advise_relay_secret(relay, site))


def _write(rendered: Mapping[str, Sequence[Mapping[str, Any]]], folder: Path | None) -> None:
    """Print the objects of each site as YAML, or write them into files below a folder and print the files' paths."""
    from knative.render.rendering import to_yaml, write_files

    if folder is None:
        click.echo("---\n".join(to_yaml(one) for manifests in rendered.values() for one in manifests), nl=False)
        return
    for name, manifests in rendered.items():
        for path in write_files(manifests, folder / name if len(rendered) > 1 else folder):
            click.echo(path)
    say(f"to apply the files: kubectl apply -f {folder}{'/SITE' if len(rendered) > 1 else ''}")
