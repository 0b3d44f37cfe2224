"""`eaves rollout`."""

from __future__ import annotations

from typing import Any

import click

from eaves.cli.arguments import file_option, state_option
from eaves.cli.clusters import cluster_options, on_option
from eaves.cli.fleet import fleet_options
from eaves.cli.shares import change_shares, directory_option, show_rollouts


@click.command()
@click.argument("name", default="")
@click.option("--percent", type=click.IntRange(0, 100), help="Share of requests of the newest revision.")
@click.option("--resume", is_flag=True, help="Let a rollout that is held or was rolled back go on by itself.")
@state_option
@file_option
@on_option
@cluster_options
@directory_option
@fleet_options
def command(name: str, percent: int | None, resume: bool, **options: Any) -> None:
    """Show where function NAME's rollout stands, or give its newest revision a share; eaves.yaml's when not given.

    At 0 percent it has an address of its own, next-NAME, to be tried at.
    """
    if percent is not None and resume:
        raise click.UsageError("--percent and --resume exclude each other.")
    if percent is None and not resume:
        del options["state_dir"]
        show_rollouts(name, **options)
        return
    change_shares("resume" if resume else "percent", name, percent=percent, **options)
