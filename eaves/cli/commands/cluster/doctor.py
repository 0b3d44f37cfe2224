"""The command `eaves doctor`, which finds problems at sites."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eaves.cli.cluster.deploy_notes import load_note
from eaves.cli.cluster.platform_options import (
    PlatformChoice,
    choose_sites,
    cluster_options,
    open_site,
    read_choice,
)
from eaves.cli.display.output import output_option, print_line, print_rows, progress
from eaves.cli.shared_options import file_option

if TYPE_CHECKING:
    from eaves.cli.app.project import Project, Workspace
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
@file_option
@cluster_options
@click.option(
    "--no-pod",
    is_flag=True,
    help="Don't test the addresses of sources and triggers, a test that runs a pod for some seconds.",
)
@output_option
def command(file: Path, form: str, *, no_pod: bool, **clusters: Any) -> None:
    """Find problems that prevent a deployment at sites, and show how to fix each.

    The command changes nothing. The addresses in sources and MQTT triggers are tested from a pod that runs for some
    seconds and is deleted; without such addresses, no pod is made.

    Exit code 0: there are no problems, or only notes. 3: the deployment works, but with a restriction. 69: something
    does not work.
    """
    from knative.doctor import check_byte_code, check_owners, worst

    choice = read_choice(**clusters)
    workspace = _load(file)
    image = _image(workspace)
    found = [(HERE, finding) for finding in (*check_owners(), *check_byte_code(image))]
    found += _examine_sites(workspace.project, image, choice, may_probe=not no_pod)
    several = len({site for site, _ in found if site}) > 1
    _print([(site if several else HERE, finding) for site, finding in found], form)
    click.get_current_context().exit(EXIT_CODES[worst(finding for _, finding in found)])


def _load(file: Path) -> Workspace:
    """Load eaves.yaml; when the file doesn't exist yet, return default settings so that clusters can be checked."""
    from eaves.cli.app.project import Project, Workspace, load_workspace
    from trainer.settings import DataSettings

    if file.exists():
        return load_workspace(file)
    return Workspace(project=Project(data=DataSettings(path=file.parent)), root=file.parent, origin=str(file))


def _image(workspace: Workspace) -> FunctionImage:
    """Return the container image in eaves.yaml, else the one deployed last; without both, one with an empty name.

    When the image in eaves.yaml was deployed last, its note has what the registry said about it.
    """
    from knative.deploy.function_image import FunctionImage

    named, kept = workspace.project.knative.image, load_note(workspace)
    if kept is not None and named in ("", kept.declared, kept.image.name):
        return replace(kept.image, name=named or kept.image.name)
    return FunctionImage(name=named)


def _examine_sites(
    project: Project, image: FunctionImage, choice: PlatformChoice, *, may_probe: bool
) -> list[tuple[str, DoctorFinding]]:
    """Return the findings at each chosen site; when one of several doesn't answer, its error is a finding.

    Raises:
        EavesError: When no site can be chosen, or when the only site doesn't answer.
    """
    from knative.doctor import ERROR, DoctorFinding
    from knative.multi_site import run_on_sites
    from knative.settings import SiteSettings

    sites = choose_sites(project.sites or (SiteSettings(name=project.site),), choice)
    if len(sites) == 1:
        return [(sites[0].name, finding) for finding in _examine(project, image, sites[0], choice, may_probe)]
    with progress("sites", len(sites)) as bar:
        outcomes = run_on_sites(
            sites, lambda site: _examine(project, image, site, choice, may_probe), show=lambda _: bar.update(1)
        )
    found = []
    for outcome in outcomes:
        found += [(outcome.site, finding) for finding in outcome.result or ()]
        if outcome.error is not None:
            hint = outcome.error.hint or f"eaves doctor --site {outcome.site}"
            lost = DoctorFinding(severity=ERROR, check="server", message=outcome.error.message, fix=hint)
            found.append((outcome.site, lost))
    return found


def _examine(
    project: Project, image: FunctionImage, site: SiteSettings, choice: PlatformChoice, may_probe: bool
) -> list[DoctorFinding]:
    from eaves.cli.app.app_specs import build_site_app
    from knative.doctor import examine

    app = build_site_app(project, image, site)
    cluster = open_site(site, choice)
    trains_in = _find_trainings(project, site, site.namespace or cluster.namespace)
    return examine(cluster, app, project.knative, site, may_probe=may_probe, trains_in=trains_in)


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
