"""The command `eaves receiver render`, which writes the Kubernetes objects of a receiver."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from eaves.cli.cluster.rendered_files import print_manifests
from eaves.cli.link.receiver_settings import named_by_flag
from eaves.options import build_settings, settings_options
from knative.resources.receiver import ReceiverDeployment

SECTION = "receiver."
"""Name of the settings section; the names of the settings' environment variables begin with it."""

HINTS = {
    "image": "run make image, push eaves-agent to a registry, and add --image NAME@sha256:DIGEST, which the push "
    "prints; see docs/15-receiver.md#in-a-cluster",
    "broker": "add --broker NAME, --sink ADDRESS or --folder-size 10Gi",
}


@click.command("render")
@click.option(
    "-o", "--output", "output", type=click.Path(path_type=Path, file_okay=False), help="Folder for the files."
)
@settings_options(ReceiverDeployment, section=SECTION)
def command(output: Path | None, **options: Any) -> None:
    """Write the Kubernetes objects of a receiver as YAML, for the cluster that sites send to.

    kubectl, Argo CD and Flux apply the objects unchanged. Prints YAML, or with --output the paths of the files. The
    Secrets that the objects refer to must be created separately; the command prints how.
    """
    from knative.resources.receiver import build_receiver

    with named_by_flag(HINTS, default_origins=("settings", "environment", "command line")):
        wanted = build_settings(ReceiverDeployment, options, section=SECTION)
    print_manifests(tuple(build_receiver(wanted)), output, advise_secrets(wanted))


def advise_secrets(wanted: ReceiverDeployment) -> list[str]:
    """Return the commands that create the receiver's Secrets.

    Args:
        wanted: Settings of the receiver.
    """
    create = f"kubectl {f'-n {wanted.namespace} ' if wanted.namespace else ''}create secret"
    certificate = f"{create} tls {wanted.tls_secret} --cert=FILE --key=FILE, or a Certificate of cert-manager"
    tokens = f"{create} generic {wanted.sites_secret} --from-file=SITE=FILE, with a file of tokens for each site"
    found = [f"Secret of the receiver's certificate: {certificate}", f"Secret of the sites' tokens: {tokens}"]
    if wanted.client_ca_secret:
        authorities = f"{create} generic {wanted.client_ca_secret} --from-file=ca.crt=FILE"
        found.append(f"Secret of the authorities that sign sites' certificates: {authorities}")
    return found
