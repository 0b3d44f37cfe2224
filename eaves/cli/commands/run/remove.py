"""The command `eaves remove`, which removes a function."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from eaves.cli.app.project import load_workspace
from eaves.cli.cluster.deploy_notes import forget_sites
from eaves.cli.cluster.multi_site import SiteVisit, fleet_options, run_on_sites, visit_sites
from eaves.cli.cluster.platform_options import (
    PlatformChoice,
    SiteScope,
    choose_sites,
    cluster_options,
    load_scope,
    on_option,
    read_choice,
)
from eaves.cli.display.output import say
from eaves.cli.shared_options import file_option, state_option


@click.command()
@click.argument("name")
@state_option
@file_option
@on_option
@cluster_options
@click.option(
    "--adopt",
    is_flag=True,
    help="In a cluster, also delete objects that `eaves render` wrote and kubectl applied, after showing them.",
)
@click.option("--yes", is_flag=True, help="Don't ask before deleting what --adopt shows.")
@fleet_options
def command(
    name: str, state_dir: Path, file: Path, adopt: bool, yes: bool, parallel: int, max_failures: int | None,
    **clusters: Any,
) -> None:  # fmt: skip
    """Remove function NAME with its triggers and sources. Its artifact, logs and dead letters stay.

    In a cluster, the objects that `eaves deploy` applied and recorded in its inventory are deleted. Volumes with images
    that the broker hasn't taken yet stay. Only `eaves deploy` brings the function back to the site; `eaves reconcile`
    does not.
    """
    choice = read_choice(**clusters)
    if not choice.knative:
        if adopt:
            raise click.UsageError("--adopt is for clusters; add --on knative.")
        _remove_here(state_dir, name)
        return

    scope = load_scope(file)
    if adopt:
        _ask_before_removing(scope, choice, name, yes=yes)
    if name == scope.name:
        forget_sites(load_workspace(file), choose_sites(scope.sites, choice))

    def remove(visit: SiteVisit) -> str:
        visit.platform().remove(name, adopt=adopt)
        return f"removed {name}"

    again = f"eaves remove {name}" + (" --adopt" if adopt else "")
    run_on_sites(scope, choice, remove, again=again, parallel=parallel, max_failures=max_failures)


def _remove_here(state_dir: Path, name: str) -> None:
    """Remove a function from the local platform, and print what happens to the events that wait for it."""
    from eaves.local.client import LocalPlatform
    from eaves.local.queues import count_captured, count_queued
    from eaves.local.state import StateDirectory

    state = StateDirectory(root=state_dir)
    queued, captured = sum(count_queued(state, name).values()), count_captured(state, name)
    LocalPlatform(state_dir).remove(name)
    say(f"removed {name}")
    if queued:
        say(
            f"{queued:,} queued events of {name} are kept as dead letters (`eaves queue list --dead`); "
            f"they are delivered when {name} is deployed again"
        )
    if captured:
        say(f"{captured:,} captured images of {name} stay in the queue of its agent until it is deployed again")


def _ask_before_removing(scope: SiteScope, choice: PlatformChoice, name: str, *, yes: bool) -> None:
    """Print the objects that are deleted at each site, and ask.

    Raises:
        click.Abort: When the answer is no.
    """
    for outcome in visit_sites(scope, choice, lambda visit: visit.platform().find_removable(name, adopt=True)):
        for line in outcome.result or ([str(outcome.error)] if outcome.error else []):
            say(f"{outcome.site}: {line}")
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("--adopt asks for confirmation, and stdin is no terminal; add --yes.")
        click.confirm("Delete these objects?", abort=True, err=True)
