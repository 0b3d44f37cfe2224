"""The command `eaves rollout`, which shows or sets a new revision's share of the requests."""

from __future__ import annotations

from typing import Any

import click

from eaves.cli.cluster.multi_site import fleet_options
from eaves.cli.cluster.platform_options import cluster_options, load_scope, on_option, read_choice
from eaves.cli.cluster.rollout_status import show_rollouts
from eaves.cli.cluster.traffic import change_traffic, name_function, unpinned_option
from eaves.cli.display.output import output_option
from eaves.cli.shared_options import file_option, state_option


@click.command()
@click.argument("name", default="")
@click.option(
    "--percent", type=click.IntRange(0, 100), metavar="PERCENT", help="Share of the requests for the newest revision."
)
@click.option("--resume", is_flag=True, help="Let a rollout that is held or was rolled back continue by itself.")
@state_option
@file_option
@on_option
@cluster_options
@unpinned_option
@fleet_options
@output_option
def command(name: str, percent: int | None, resume: bool, unpinned: bool, form: str, **options: Any) -> None:
    """Show the rollout of function NAME, or set the share of its newest revision. NAME defaults to that in eaves.yaml.

    At 0 percent, the newest revision can be tried at an address of its own, next-NAME. Requests, errors and latency are
    counted while `eaves deploy --wait` or `eaves reconcile` advances the rollout.
    """
    if percent is not None and resume:
        raise click.UsageError("--percent and --resume exclude each other.")
    if unpinned and percent is None:
        raise click.UsageError("--unpinned has no effect without --percent.")
    if percent is not None or resume:
        change_traffic("resume" if resume else "percent", name, percent=percent, unpinned=unpinned, **options)
        return
    file = options.pop("file")
    for unused in ("state_dir", "parallel", "max_failures"):
        del options[unused]
    scope = load_scope(file)
    show_rollouts(name_function(name, scope), scope, read_choice(**options), form)
