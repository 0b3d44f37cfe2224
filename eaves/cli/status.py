"""`eaves status`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eaves.cli.arguments import file_option, state_option
from eaves.cli.clusters import Choice, cluster_options, load_scope, on_option, read_choice
from eaves.cli.fleet import judge, visit_sites
from eaves.cli.output import output_option, print_rows, say

if TYPE_CHECKING:
    from eaves.platform import FunctionStatus

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
    """A row for each function of each site; one of several sites that can't be asked has one that says why.

    Raises:
        EavesError: When the only site can't be asked.
        FleetError: When one of several can't.
    """
    outcomes = visit_sites(load_scope(file), choice, lambda visit: visit.platform().status())
    rows: list[dict[str, Any]] = []
    for outcome in outcomes:
        if outcome.error is not None:
            rows.append({"site": outcome.site, "state": outcome.state, "reason": str(outcome.error)})
        rows += [{**_row(status), "site": outcome.site} for status in outcome.result or ()]
    print_rows(rows, SITE_COLUMNS, form)
    judge(outcomes, "eaves doctor", choice)
    if not rows:
        say("nothing is deployed there: `eaves deploy --on knative`")


def _row(status: FunctionStatus) -> dict[str, Any]:
    return {**asdict(status), "sources": list(status.sources), "traffic": list(status.traffic)}
