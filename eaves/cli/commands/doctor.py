"""The command `eaves doctor`: `eaves.local.doctor` examines this machine, `knative.doctor.runner` a site's cluster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from eaves.cli.container_image import access_options, load_note
from eaves.cli.output import output_option, print_line, print_rows
from eaves.cli.site import LOCAL, Place, Visit, place_options

if TYPE_CHECKING:
    from eaves.oci.registry.registry import Access
    from eaves.platform.findings import Finding

EXIT_CODES = {"ok": 0, "note": 0, "warning": 3, "error": 69}
"""Severity of the worst finding to the exit code of `eaves doctor`. Other commands that fail for the reason of an
`error` finding also end with 69."""
COLUMNS = {"site": "SITE", "severity": "STATE", "check": "CHECK", "message": "FOUND"}
KUBECONFIG = Path("~/.kube/config")
UNNAMED = "images"
"""Name of the function that is looked for where there is no eaves.yaml."""


def _has_kubeconfig() -> bool:
    try:
        return KUBECONFIG.expanduser().is_file()
    except RuntimeError:  # a user without a home directory
        return False


@click.command()
@place_options("file", "on", "all")
@access_options
@output_option
def command(place: Place, access: Callable[[], Access], form: str) -> None:
    """Find problems that prevent a deployment at sites, or on this machine, and show how to fix each.

    This machine is checked with --on local, or when neither eaves.yaml nor a kubeconfig names a cluster. The command
    changes nothing.

    Exit code 0: there are no problems, or only notes. 3: the deployment works, but with a restriction. 69: something
    does not work.
    """
    from eaves.local.doctor import check_packages, examine_machine
    from eaves.local.settings import LocalSettings
    from eaves.platform.findings import worst

    project, named = place.project, place.kubeconfig or _has_kubeconfig()
    if place.is_cluster or (place.platform != LOCAL and (named or (place.file.exists() and project.sites))):
        hurried = replace(access(), attempts=1, connect_s=5.0, read_s=15.0)
        found = [("", finding) for finding in check_packages()]
        found += _examine_sites(place, hurried)
    else:
        found = [("", finding) for finding in examine_machine(place.file, project.sources, LocalSettings().port)]
    several = len({site for site, _ in found if site}) > 1
    rows = [{**({"site": site} if several else {}), **asdict(finding)} for site, finding in found]
    print_rows(rows, {key: heading for key, heading in COLUMNS.items() if several or key != "site"}, form)
    for row in rows if form == "table" else ():
        if row["fix"]:
            print_line(": ".join(filter(None, (row.get("site"), row["check"], row["fix"]))))
    click.get_current_context().exit(EXIT_CODES[worst(finding for _, finding in found)])


def _examine_sites(place: Place, access: Access) -> list[tuple[str, Finding]]:
    """Return the findings at each chosen site; when one of several doesn't answer, its error is a finding.

    Raises:
        EavesError: When no site can be chosen, or when the only site doesn't answer.
    """
    from eaves.cli.app import build_site_app
    from eaves.oci.copy import open_location
    from eaves.oci.layers.image import load_images
    from eaves.platform.findings import error
    from knative.deploy.function_image import FunctionImage
    from knative.doctor.runner import examine

    project, job = replace(place.project, name=place.project.name or UNNAMED), place.project.job
    kept = load_note(place.workspace) if place.file.exists() else None
    image = FunctionImage(name=project.knative.image or (kept.image.name if kept is not None else ""))

    def find_platforms(image: str) -> set[str]:
        place = open_location(image, access)
        return {one.platform.architecture for one in load_images(place.store, place.resolve())}

    def look(visit: Visit) -> list[Finding]:
        cluster, site = place.open_cluster(visit.site), visit.site
        trains_here = project.knative.trainer_image and job.context == site.context
        return examine(
            cluster,
            build_site_app(project, image, site),
            trains_in=(job.namespace or site.namespace or cluster.namespace) if trains_here else "",
            platforms=find_platforms,
        )

    found = []
    for outcome in place.visit(look):
        found += [(outcome.site, finding) for finding in outcome.result or ()]
        if outcome.error is not None:
            hint = outcome.error.hint or f"eaves doctor --site {outcome.site}"
            found.append((outcome.site, error("server", outcome.error.message, hint)))
    return found
