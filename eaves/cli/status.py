"""`eaves status`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eaves.cli.arguments import file_option, state_option
from eaves.cli.clusters import Choice, choose_sites, cluster_options, load_scope, on_option, open_platform, read_choice
from eaves.cli.output import output_option, print_rows, say
from eaves.errors import FleetError

if TYPE_CHECKING:
    from eaves.platform import FunctionStatus
    from knative.settings import SiteSettings

COLUMNS = {
    "name": "FUNCTION",
    "state": "STATE",
    "replicas": "REPLICAS",
    "queued": "QUEUED",
    "delivered": "DELIVERED",
    "dead": "DEAD",
    "sources": "SOURCES",
    "artifact": "ARTIFACT",
    "reason": "REASON",
}
SITE_COLUMNS = {
    "site": "SITE",
    "name": "FUNCTION",
    "state": "STATE",
    "replicas": "REPLICAS",
    "traffic": "TRAFFIC",
    "sources": "SOURCES",
    "artifact": "CONTAINER IMAGE",
    "reason": "REASON",
}


@click.command()
@output_option
@state_option
@file_option
@on_option
@cluster_options
def command(form: str, state_dir: Path, file: Path, **clusters: Any) -> None:
    """Show the functions wanted here, or at sites, and how they are."""
    choice = read_choice(**clusters)
    if choice.knative:
        _show_sites(file, choice, form)
        return
    from eaves.local.client import LocalPlatform

    platform = LocalPlatform(state_dir)
    found = platform.status()
    print_rows([_row(status) for status in found], COLUMNS, form)
    if any(status.dead for status in found):
        say("dead letters are kept: `eaves dead`")
    if not platform.running():
        say("`eaves up` is not running here")
    elif not found:
        say("nothing is deployed here: `eaves deploy`")


def _show_sites(file: Path, choice: Choice, form: str) -> None:
    """A row for each function of each site; a site that can't be asked has one row that says why.

    Raises:
        FleetError: When a site can't be asked.
    """
    from knative.fleet import DONE, run_on_sites

    scope = load_scope(file)
    sites = choose_sites(scope.sites, choice)

    def read(site: SiteSettings) -> list[FunctionStatus]:
        return open_platform(scope, site, choice).status()

    outcomes = run_on_sites(sites, read)
    rows: list[dict[str, Any]] = []
    for outcome in outcomes:
        if outcome.result is None:
            rows.append({"site": outcome.site, "state": outcome.state, "reason": str(outcome.error)})
        rows += [{**_row(status), "site": outcome.site} for status in outcome.result or ()]
    print_rows(rows, SITE_COLUMNS, form)
    silent = [outcome for outcome in outcomes if outcome.state != DONE]
    if silent:
        raise FleetError(
            f"{len(silent)} of {len(outcomes)} sites don't answer", hint="eaves doctor --site " + silent[0].site
        )
    if not rows:
        say("nothing is deployed there: `eaves deploy --on knative`")


def _row(status: FunctionStatus) -> dict[str, Any]:
    return {**asdict(status), "sources": list(status.sources), "traffic": list(status.traffic)}
