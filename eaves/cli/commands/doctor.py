"""The command `eaves doctor`, which finds problems at sites."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import click

from eaves.cli.deploy_notes import load_note
from eaves.cli.output import output_option, print_line, print_rows
from eaves.cli.site import Place, Visit, place_options

if TYPE_CHECKING:
    from eaves.cli.project import Project
    from knative.deploy.function_image import FunctionImage
    from knative.doctor import DoctorFinding
    from knative.settings import SiteSettings

EXIT_CODES = {"ok": 0, "note": 0, "warning": 3, "error": 69}
"""Severity of the worst finding to the exit code of `eaves doctor`. Other commands that fail for the reason of an
`error` finding also end with 69."""
COLUMNS = {"site": "SITE", "severity": "STATE", "check": "CHECK", "message": "FOUND"}
HERE = ""
"""Value in the column SITE for findings about this machine; it is empty, because the machine is no site."""


@click.command()
@place_options("file", "all")
@click.option(
    "--no-pod",
    is_flag=True,
    help="Don't test the addresses of sources and triggers, a test that runs a pod for some seconds.",
)
@output_option
def command(place: Place, form: str, *, no_pod: bool) -> None:
    """Find problems that prevent a deployment at sites, and show how to fix each.

    The command changes nothing. The addresses in sources and MQTT triggers are tested from a pod that runs for some
    seconds and is deleted; without such addresses, no pod is made.

    Exit code 0: there are no problems, or only notes. 3: the deployment works, but with a restriction. 69: something
    does not work.

    """
    from knative.doctor import check_byte_code, check_owners, worst

    image = _image(place)
    found = [(HERE, finding) for finding in (*check_owners(), *check_byte_code(image))]
    found += _examine_sites(place, image, may_probe=not no_pod)
    several = len({site for site, _ in found if site}) > 1
    _print([(site if several else HERE, finding) for site, finding in found], form)
    click.get_current_context().exit(EXIT_CODES[worst(finding for _, finding in found)])


def _image(place: Place) -> FunctionImage:
    """Return the container image in eaves.yaml, else the one deployed last; without both, one with an empty name.

    When the image in eaves.yaml was deployed last, its note has what the registry said about it.
    """
    from knative.deploy.function_image import FunctionImage

    named = place.project.knative.image
    kept = load_note(place.workspace) if place.file.exists() else None
    if kept is not None and named in ("", kept.declared, kept.image.name):
        return replace(kept.image, name=named or kept.image.name)
    return FunctionImage(name=named)


def _examine_sites(place: Place, image: FunctionImage, *, may_probe: bool) -> list[tuple[str, DoctorFinding]]:
    """Return the findings at each chosen site; when one of several doesn't answer, its error is a finding.

    Raises:
        EavesError: When no site can be chosen, or when the only site doesn't answer.
    """
    from eaves.cli.app import build_site_app
    from knative.doctor import ERROR, DoctorFinding, examine

    project = place.project

    def look(visit: Visit) -> list[DoctorFinding]:
        cluster, site = place.open_cluster(visit.site), visit.site
        app = build_site_app(project, image, site)
        trains_in = _find_trainings(project, site, site.namespace or cluster.namespace)
        return examine(cluster, app, project.knative, site, may_probe=may_probe, trains_in=trains_in)

    found = []
    for outcome in place.visit(look):
        found += [(outcome.site, finding) for finding in outcome.result or ()]
        if outcome.error is not None:
            hint = outcome.error.hint or f"eaves doctor --site {outcome.site}"
            lost = DoctorFinding(severity=ERROR, check="server", message=outcome.error.message, fix=hint)
            found.append((outcome.site, lost))
    return found


def _find_trainings(project: Project, site: SiteSettings, namespace: str) -> str:
    """Return the namespace of training Jobs in a site's cluster; empty when none run there."""
    here = project.job.context == site.context
    return (project.job.namespace or namespace) if project.knative.trainer_image and here else ""


def _print(found: list[tuple[str, DoctorFinding]], form: str) -> None:
    """Print findings as a table with the fix of each below it, or as a list in JSON or YAML that includes the fixes."""
    rows = [{"site": site, **asdict(finding)} for site, finding in found]
    if not any(site for site, _ in found):
        rows = [{key: value for key, value in row.items() if key != "site"} for row in rows]
    columns = {key: heading for key, heading in COLUMNS.items() if key != "site" or "site" in rows[0]}
    print_rows(rows, columns, form)
    if form != "table":
        return
    for row in rows:
        if row["fix"]:
            where = f"{row['site']}: " if row.get("site") else ""
            print_line(f"{where}{row['check']}: {row['fix']}")
