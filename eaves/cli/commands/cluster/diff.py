"""The command `eaves diff`, which compares two container images, or a deployment with a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from eaves.cli.cluster.container_images import image_options
from eaves.cli.cluster.multi_site import report_outcomes
from eaves.cli.cluster.platform_options import cluster_options, on_option, read_choice
from eaves.cli.display.output import output_option, print_line, print_rows, print_value, say
from eaves.cli.display.table import Column, Columns, Kind
from eaves.cli.registry_options import build_access, default_platform
from eaves.cli.shared_options import file_option
from eaves.errors import EavesError

COLUMNS: Columns = {
    "what": "PIECE",
    "size_bytes": Column("SIZE", Kind.BYTES),
    "there": "ON THE NODE",
    "digest": Column("DIGEST", Kind.ID, drop=1),
}


@click.command()
@click.argument("old", metavar="[OLD|IMAGE]", default="")
@click.argument("new", metavar="[NEW]", default="")
@click.option(
    "--platform",
    "node",
    default=default_platform,
    help="Platform of the container images, such as linux/arm64. Default: this machine's.",
)
@file_option
@on_option
@cluster_options
@image_options
@output_option
def command(
    old: str, new: str, node: str, file: Path, key: Path | None, offline: bool, plain_http: bool,
    registry_ca: Path | None, form: str, **clusters: Any,
) -> None:  # fmt: skip
    """Show which bytes a node with OLD must download for NEW, or which objects a deploy changes in a cluster.

    OLD and NEW are references, or oci:DIR[:NAME]. With --on knative or --site, the command prints the changes that
    `eaves deploy IMAGE` would make to the objects at each site, as the API server computes them. It ends with exit
    code 1 when there are changes.
    """
    choice = read_choice(**clusters)
    if not choice.knative:
        if not old or not new:
            raise click.UsageError("name two container images, OLD and NEW, or add --on knative.")
        _show_delta(old, new, node, plain_http=plain_http, registry_ca=registry_ca, form=form)
        return
    from eaves.cli.cluster.site_deployment import build_deploy_request, diff_sites

    order = build_deploy_request(
        old, file, choice, key=key, offline=offline, plain_http=plain_http, registry_ca=registry_ca
    )
    outcomes = diff_sites(order)
    for outcome in outcomes:
        if outcome.result and len(outcomes) > 1:
            print_line(f"# {outcome.site}")
        for line in outcome.result or ():
            print_line(line)
        if outcome.error is not None:
            say(f"{outcome.site}: {outcome.error}")
    report_outcomes(outcomes, "eaves diff", choice)
    if any(outcome.result for outcome in outcomes):
        raise EavesError("objects in the cluster differ from those of a deploy", hint="eaves deploy --on knative")
    say("a deploy would change nothing")


def _show_delta(old: str, new: str, node: str, *, plain_http: bool, registry_ca: Path | None, form: str) -> None:
    from eaves.oci.copy import compute_delta
    from eaves.oci.descriptor import parse_image_platform
    from eaves.oci.image_location import open_location

    access = build_access(plain_http=plain_http, registry_ca=registry_ca)
    first, second = open_location(old, access), open_location(new, access)
    delta = compute_delta((first.store, first.resolve()), (second.store, second.resolve()), parse_image_platform(node))
    rows = [
        {
            "what": step.what,
            "size_bytes": step.descriptor.size,
            "there": step.there,
            "digest": step.descriptor.digest,
        }
        for step in delta.steps
    ]
    if form == "table":
        print_rows([{**row, "there": "yes" if row["there"] else "no"} for row in rows], COLUMNS, form)
    else:
        print_value({"fetched_bytes": delta.fetched_bytes, "total_bytes": delta.total_bytes, "pieces": rows}, form)
    share = f", 1/{delta.total_bytes / delta.fetched_bytes:.0f} of all" if delta.fetched_bytes else ""
    say(f"{delta.fetched_bytes} of {delta.total_bytes} bytes must be downloaded{share}")
