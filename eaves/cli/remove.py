"""`eaves remove`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from eaves.cli.arguments import file_option, state_option
from eaves.cli.clusters import choose_sites, cluster_options, load_scope, on_option, read_choice
from eaves.cli.fleet import Visit, fleet_options, run_visibly
from eaves.cli.output import say
from eaves.cli.project import load_workspace
from eaves.cli.wanted import forget_wanted


@click.command()
@click.argument("name")
@state_option
@file_option
@on_option
@cluster_options
@fleet_options
def command(name: str, state_dir: Path, file: Path, parallel: int, max_failures: int | None, **clusters: Any) -> None:
    """Stop wanting function NAME, its triggers and sources. Its artifact, logs and dead letters stay.

    In a cluster, volumes with images that the broker hasn't taken yet stay too. `eaves reconcile` doesn't bring it back
    to a site that it was removed from; `eaves deploy` does.
    """
    choice = read_choice(**clusters)
    if not choice.knative:
        from eaves.local.client import LocalPlatform

        LocalPlatform(state_dir).remove(name)
        say(f"removed {name}")
        return

    scope = load_scope(file)
    if name == scope.name:
        forget_wanted(load_workspace(file), choose_sites(scope.sites, choice))

    def remove(visit: Visit) -> str:
        visit.platform().remove(name)
        return f"removed {name}"

    run_visibly(scope, choice, remove, again=f"eaves remove {name}", parallel=parallel, max_failures=max_failures)
