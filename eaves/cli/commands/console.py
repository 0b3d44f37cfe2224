"""The command `eaves console`, which is about the web page that shows a platform."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from eaves.cli import CommandGroup
from eaves.cli.link import named_by_flag
from eaves.cli.output import print_manifests
from eaves.options import build_settings, settings_options
from knative.resources.console import ConsoleDeployment

SECTION = "console."
"""Name of the settings section; the names of the settings' environment variables begin with it."""
HINTS = {
    "image": "run make image, push eaves-console to a registry, and add --image NAME@sha256:DIGEST, which the push "
    "prints; see docs/local-platform.md#at-a-site"
}


@click.group(cls=CommandGroup)
def command() -> None:
    """Show a platform as a web page.

    `eaves up` serves the page of this machine and prints its address. `eaves console render` writes the Kubernetes
    objects that serve the page of a site.
    """


@command.command()
@click.option(
    "-o", "--output", "output", type=click.Path(path_type=Path, file_okay=False), help="Folder for the files."
)
@settings_options(ConsoleDeployment, section=SECTION)
def render(output: Path | None, **options: Any) -> None:
    """Write the Kubernetes objects of a site's console as YAML.

    kubectl, Argo CD and Flux apply the objects unchanged. The console can read the site and change nothing unless
    --writable is given. Prints YAML, or with --output the paths of the files. The Secrets that the objects refer to
    must be created separately; the command prints how.
    """
    from knative.resources.console import build_console

    with named_by_flag(HINTS):
        wanted = build_settings(ConsoleDeployment, options, section=SECTION)
    kubectl = f"kubectl {f'-n {wanted.namespace} ' if wanted.namespace else ''}"
    certificate = f"{kubectl}create secret tls {wanted.tls_secret} --cert=FILE --key=FILE"
    password = f"{kubectl}create secret generic {wanted.password_secret} --from-file=password=FILE"
    advice = [
        f"Secret of the console's certificate: {certificate}, or a Certificate of cert-manager",
        f"Secret of the pages' password: {password}",
        f"to open the pages: {kubectl}port-forward service/{wanted.name} 8443:443, then https://localhost:8443/",
    ]
    print_manifests({"": tuple(build_console(wanted))}, output, advice)
