"""`eaves receiver render`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from eaves.cli.display.output import say
from eaves.cli.link.receiver_settings import named_by_flag
from eaves.options import build_settings, settings_options
from knative.resources.receiver_settings import ReceiverDeployment

SECTION = "receiver."
"""What the environment variables of the settings begin with."""

HINTS = {
    "image": "make image, push eaves-agent to a registry, and --image NAME@sha256:DIGEST as the push prints it; "
    "see docs/15-receiver.md#in-a-cluster",
    "broker": "--broker NAME, --sink ADDRESS or --folder-size 10Gi",
}


@click.command("render")
@click.option(
    "-o", "--output", "output", type=click.Path(path_type=Path, file_okay=False), help="Folder for the files."
)
@settings_options(ReceiverDeployment, section=SECTION)
def command(output: Path | None, **options: Any) -> None:
    """Write the Kubernetes objects of a receiver as YAML, for the cluster that sites send to.

    kubectl, Argo CD and Flux take them as they are. Prints YAML, or with --output the files. The Secrets that it names
    are yours to make: the commands are told.
    """
    from knative.render.rendering import to_yaml, write_files
    from knative.resources.receiver import build_receiver

    with named_by_flag(HINTS, default_origins=("settings", "environment", "command line")):
        wanted = build_settings(ReceiverDeployment, options, section=SECTION)
    manifests = tuple(build_receiver(wanted))
    if output is None:
        click.echo("---\n".join(to_yaml(one) for one in manifests), nl=False)
    else:
        for path in write_files(manifests, output):
            click.echo(path)
        say(f"apply them: kubectl apply -f {output}")
    for line in advise_secrets(wanted):
        say(line)


def advise_secrets(wanted: ReceiverDeployment) -> list[str]:
    """The commands that make the Secrets."""
    create = f"kubectl {f'-n {wanted.namespace} ' if wanted.namespace else ''}create secret"
    found = [
        f"its certificate: {create} tls {wanted.tls_secret} --cert=FILE --key=FILE, or one of cert-manager's",
        f"its sites: {create} generic {wanted.sites_secret} --from-file=SITE=FILE, a file of tokens for each",
    ]
    if wanted.client_ca_secret:
        authorities = f"{create} generic {wanted.client_ca_secret} --from-file=ca.crt=FILE"
        found.append(f"who signs sites' certificates: {authorities}")
    return found
