"""The command `eaves promote`, which sends every request to the newest revision."""

from __future__ import annotations

from typing import Any

import click

from eaves.cli.cluster.multi_site import fleet_options
from eaves.cli.cluster.platform_options import cluster_options, on_option
from eaves.cli.cluster.traffic import change_traffic, unpinned_option
from eaves.cli.shared_options import file_option, state_option


@click.command()
@click.argument("name", default="")
@state_option
@file_option
@on_option
@cluster_options
@unpinned_option
@fleet_options
def command(name: str, **options: Any) -> None:
    """Send every request to the newest revision of function NAME once it is ready. NAME defaults to that in eaves.yaml.

    In a cluster, a revision is ready when every node that it may run on has its container image, too.

    On this machine, `eaves deploy` already sends every request to the newest artifact.
    """
    change_traffic("promote", name, **options)
