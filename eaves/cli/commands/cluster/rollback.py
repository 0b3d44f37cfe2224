"""The command `eaves rollback`, which sends every request to the previous revision."""

from __future__ import annotations

from typing import Any

import click

from eaves.cli.cluster.multi_site import fleet_options
from eaves.cli.cluster.platform_options import cluster_options, on_option
from eaves.cli.cluster.traffic import change_traffic
from eaves.cli.registry_options import access_options
from eaves.cli.shared_options import file_option, state_option


@click.command()
@click.argument("name", default="")
@state_option
@file_option
@on_option
@cluster_options
@fleet_options
@access_options
def command(name: str, **options: Any) -> None:
    """Send every request to the previous revision of function NAME. NAME defaults to that in eaves.yaml.

    In a cluster, the command changes only the shares of requests, immediately, whatever the state of the new revision.
    Images that it refused are queued again for the previous revision. A second rollback undoes the first one. With
    --site or --all it does not: a site that is rolled back stays so, and the command can be repeated for sites that
    were down. The container image that serves again gets the tag `serving` in the repository of `job.repository`, so
    that the next pipeline's model is compared with it.
    """
    change_traffic("rollback", name, **options)
