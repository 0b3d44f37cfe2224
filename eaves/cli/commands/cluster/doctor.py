"""The command `eaves doctor`, which finds problems at sites, or of this machine."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from eaves.cli.cluster.cold_start_report import ColdStartOptions, choose_function, report_cold_starts
from eaves.cli.cluster.platform_options import (
    LOCAL,
    PlatformChoice,
    choose_site,
    choose_sites,
    cluster_options,
    load_scope,
    on_option,
    open_site,
    read_choice,
)
from eaves.cli.display.output import output_option, print_line, print_rows, progress
from eaves.cli.registry_options import access_options, build_access
from eaves.cli.shared_options import file_option

if TYPE_CHECKING:
    from eaves.cli.app.project import Project, Workspace
    from eaves.oci.registry.registry import Access
    from eaves.platform.findings import Finding
    from knative.settings import SiteSettings

EXIT_CODES = {"ok": 0, "note": 0, "warning": 3, "error": 69}
"""Severity of the worst finding to the exit code of `eaves doctor`. Other commands that fail for the reason of an
`error` finding also end with 69."""
COLUMNS = {"site": "SITE", "severity": "STATE", "check": "CHECK", "message": "FOUND"}
COLD_START_OPTIONS = {"repeats": "--repeats", "wait": "--wait", "floor": "--floor", "picture": "--image"}
"""Options that only a measurement of cold starts uses, by the names of their parameters."""
KUBECONFIG = Path("~/.kube/config").expanduser()
HERE = ""
"""Value in the column SITE for findings about this machine; it is empty, because the machine is no site."""


@click.command()
@file_option
@on_option
@cluster_options
@click.option(
    "--no-pod",
    is_flag=True,
    help="Don't test the addresses of sources and triggers, a test that runs a pod for some seconds.",
)
@click.option(
    "--cold-start",
    "cold",
    is_flag=False,
    flag_value="",
    metavar="[FUNCTION]",
    help="Measure cold starts of a deployed function phase by phase, in place of the checks. Default: the function of "
    "eaves.yaml.",
)
@click.option(
    "--repeats",
    type=click.IntRange(1, 100),
    default=3,
    show_default=True,
    help="Number of cold starts; medians are shown.",
)
@click.option("--wait", is_flag=True, help="Wait until the function has no replicas; otherwise replicas are an error.")
@click.option(
    "--floor",
    default="",
    metavar="SERVICE",
    help="Knative Service that does almost nothing; its cold starts are measured in turn, and shown beside.",
)
@click.option(
    "--image",
    "picture",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="File that starts the function, .json for numbers. Default: a grey JPEG.",
)
@access_options
@output_option
def command(
    file: Path,
    form: str,
    *,
    no_pod: bool,
    cold: str | None,
    repeats: int,
    wait: bool,
    floor: str,
    picture: Path | None,
    plain_http: bool,
    registry_ca: Path | None,
    **clusters: Any,
) -> None:
    """Find problems that prevent a deployment at sites, or on this machine, and show how to fix each.

    This machine is checked with --on local, or when neither eaves.yaml nor a kubeconfig names a cluster. The command
    changes nothing. The addresses in sources and MQTT triggers are tested from a pod that runs for some
    seconds and is deleted; without such addresses, no pod is made.

    Exit code 0: there are no problems, or only notes. 3: the deployment works, but with a restriction. 69: something
    does not work.

    With --cold-start, the command sends an image to a function that has no replicas, and shows how long each phase of
    its start takes. The image is no event, so no subscriber gets a prediction. A function that has replicas gets no
    image.
    """
    from eaves.local.doctor import check_packages, examine_machine
    from eaves.local.settings import LocalSettings
    from eaves.platform.findings import worst

    choice = read_choice(**clusters)
    if cold is not None:
        options = ColdStartOptions(function=cold, repeats=repeats, wait=wait, floor=floor, image=picture)
        _report_cold_starts(file, choice, options, form)
        return
    _refuse_cold_start_options()
    workspace = _load(file)
    project = workspace.project
    found: list[tuple[str, Finding]] = []
    if choice.knative or (choice.platform != LOCAL and (choice.kubeconfig or project.sites or KUBECONFIG.is_file())):
        access = build_access(plain_http=plain_http, registry_ca=registry_ca)
        access = replace(access, attempts=1, connect_s=5.0, read_s=15.0)
        found += [(HERE, finding) for finding in check_packages()]
        found += _examine_sites(
            workspace, choice, {"may_probe": not no_pod, "platforms": partial(_find_platforms, access)}
        )
    else:
        machine = examine_machine(file, project.sources, LocalSettings().port)
        found += [(HERE, finding) for finding in machine]
    several = len({site for site, _ in found if site}) > 1
    _print([(site if several else HERE, finding) for site, finding in found], form)
    click.get_current_context().exit(EXIT_CODES[worst(finding for _, finding in found)])


def _refuse_cold_start_options() -> None:
    source = click.get_current_context().get_parameter_source
    given = [flag for name, flag in COLD_START_OPTIONS.items() if source(name) is not ParameterSource.DEFAULT]
    if given:
        raise click.UsageError(f"{given[0]} is for cold starts; add --cold-start.")


def _report_cold_starts(file: Path, choice: PlatformChoice, options: ColdStartOptions, form: str) -> None:
    scope = load_scope(file)
    cluster = open_site(choose_site(scope.sites, choice), choice)
    report_cold_starts(cluster, choose_function(cluster, options, scope.name), options, form)


def _load(file: Path) -> Workspace:
    """Load eaves.yaml; when the file doesn't exist yet, return default settings so that clusters can be checked."""
    from eaves.cli.app.project import Project, Workspace, load_workspace
    from trainer.settings import DataSettings

    if file.exists():
        return load_workspace(file)
    return Workspace(project=Project(data=DataSettings(path=file.parent)), root=file.parent, origin=str(file))


def _find_platforms(access: Access, image: str) -> set[str]:
    """Ask the registry for the architectures of a container image.

    Raises:
        OciError: When the registry doesn't answer, or doesn't have the container image.
    """
    from eaves.oci.image_location import open_location
    from eaves.oci.layers.image import load_images

    place = open_location(image, access)
    return {one.platform.architecture for one in load_images(place.store, place.resolve())}


def _examine_sites(workspace: Workspace, choice: PlatformChoice, options: dict[str, Any]) -> list[tuple[str, Finding]]:
    """Return the findings at each chosen site; when one of several doesn't answer, its error is a finding.

    Raises:
        EavesError: When no site can be chosen, or when the only site doesn't answer.
    """
    from eaves.platform.findings import error
    from knative.multi_site import run_on_sites
    from knative.settings import SiteSettings

    project = workspace.project
    sites = choose_sites(project.sites or (SiteSettings(name=project.site),), choice)
    examine = partial(_examine, workspace, choice, options)
    with progress("sites", len(sites)) as bar:
        outcomes = run_on_sites(sites, examine, show=lambda _: bar.update(1))
    found = []
    for outcome in outcomes:
        found += [(outcome.site, finding) for finding in outcome.result or ()]
        if outcome.error is not None and len(sites) == 1:
            raise outcome.error
        if outcome.error is not None:
            hint = outcome.error.hint or f"eaves doctor --site {outcome.site}"
            found.append((outcome.site, error("server", outcome.error.message, hint)))
    return found


def _examine(
    workspace: Workspace, choice: PlatformChoice, options: dict[str, Any], site: SiteSettings
) -> list[Finding]:
    from eaves.cli.app.app_specs import build_site_app
    from eaves.cli.cluster.deploy_notes import load_note
    from knative.deploy.function_image import FunctionImage
    from knative.doctor import examine

    project, kept = workspace.project, load_note(workspace)
    image = project.knative.image or (kept.image.name if kept is not None else "")
    cluster = open_site(site, choice)
    return examine(
        cluster,
        build_site_app(project, FunctionImage(name=image), site),
        project.knative,
        site,
        trains_in=_find_trainings(project, site, site.namespace or cluster.namespace),
        **options,
    )


def _find_trainings(project: Project, site: SiteSettings, namespace: str) -> str:
    """Return the namespace of training Jobs in a site's cluster; empty when none run there."""
    here = project.job.context == site.context
    return (project.job.namespace or namespace) if project.knative.trainer_image and here else ""


def _print(found: list[tuple[str, Finding]], form: str) -> None:
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
