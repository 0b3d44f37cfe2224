"""`eaves remove`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from eaves.cli.arguments import file_option, state_option
from eaves.cli.clusters import cluster_options, load_scope, on_option, read_choice
from eaves.cli.fleet import Visit, fleet_options, run_visibly
from eaves.cli.output import say


@click.command()
@click.argument("name")
@state_option
@file_option
@on_option
@cluster_options
@fleet_options
def command(name: str, state_dir: Path, file: Path, parallel: int, max_failures: int | None, **clusters: Any) -> None:
    """Stop wanting function NAME, its triggers and sources. Its artifact, logs and dead letters stay.

    In a cluster, volumes with images that the broker hasn't taken yet stay too.
    """
    choice = read_choice(**clusters)
    if not choice.knative:
        from eaves.local.client import LocalPlatform

        LocalPlatform(state_dir).remove(name)
        say(f"removed {name}")
        return

    def remove(visit: Visit) -> str:
        visit.platform().remove(name)
        return f"removed {name}"

    run_visibly(
        load_scope(file), choice, remove, again=f"eaves remove {name}", parallel=parallel, max_failures=max_failures
    )
