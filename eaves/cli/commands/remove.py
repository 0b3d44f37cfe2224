"""The command `eaves remove`, which removes a function."""

from __future__ import annotations

import click

from eaves.cli.deploy_notes import forget_sites
from eaves.cli.output import confirm, describe_count, describe_kept, say
from eaves.cli.site import Place, Visit, place_options


@click.command()
@click.argument("name")
@place_options("state", "file", "on", "all", "fleet")
@click.option(
    "--adopt",
    is_flag=True,
    help="In a cluster, also delete objects that `eaves render` wrote and kubectl applied, after showing them.",
)
@click.option("--yes", is_flag=True, help="Don't ask before deleting what --adopt shows.")
def command(name: str, place: Place, adopt: bool, yes: bool) -> None:
    """Remove function NAME with its triggers and sources. Its artifact, logs and dead letters stay.

    In a cluster, the objects that `eaves deploy` applied and recorded in its inventory are deleted. Volumes with images
    that the broker hasn't taken yet stay. Only `eaves deploy` brings the function back to the site; `eaves reconcile`
    does not.
    """
    if not place.is_cluster:
        if adopt:
            raise click.UsageError("--adopt is for clusters; add --on knative.")
        _remove_here(place, name)
        return
    if adopt:
        for outcome in place.visit(lambda visit: visit.platform().find_removable(name, adopt=True)):
            for line in outcome.result or ([str(outcome.error)] if outcome.error else []):
                say(f"{outcome.site}: {line}")
        confirm("Delete these objects?", yes=yes, asks="--adopt")
    if name == place.project.name:
        forget_sites(place.workspace, place.chosen)

    def remove(visit: Visit) -> str:
        visit.platform().remove(name, adopt=adopt)
        return f"removed {name}"

    place.run(remove, again=f"eaves remove {name}" + (" --adopt" if adopt else ""))


def _remove_here(place: Place, name: str) -> None:
    """Remove a function from the local platform, and print what happens to the events that wait for it."""
    from eaves.local.client import LocalPlatform
    from eaves.local.queues import count_captured, count_queued
    from eaves.local.state import StateDirectory

    state = StateDirectory(root=place.state_dir)
    queued, captured = sum(count_queued(state, name).values()), count_captured(state, name)
    LocalPlatform(place.state_dir).remove(name)
    say(f"removed {name}")
    if queued:
        say(
            f"{describe_count(queued, 'queued event')} of {name} {describe_kept(queued)} (`eaves queue list --dead`); "
            f"they are delivered when {name} is deployed again"
        )
    if captured:
        say(f"{captured:,} captured images of {name} stay in the queue of its agent until it is deployed again")
