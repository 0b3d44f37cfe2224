"""A site that gets another name while its relay holds events under the one before."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from eaves.cli.display.output import say
from eaves.platform import RELAY

if TYPE_CHECKING:
    from eaves.platform import AppSpec


def warn_of_waiting(state_dir: Path, app: AppSpec) -> None:
    """Say that what waits would be refused under the new name, before it is deployed.

    Args:
        state_dir: The platform's directory.
        app: What is about to be deployed.
    """
    from eaves.errors import EavesError
    from eaves.local.queues import open_local_queue
    from eaves.local.state import StateDirectory

    state, name, site = StateDirectory(root=state_dir), app.function.name, app.function.site
    before = state.read_specs()[0].get(name)
    if before is None or before.function.site == site or not state.relay_spool(name).is_file():
        return
    former = before.function.site
    try:
        with open_local_queue(state, f"{name}.{RELAY}") as queue:
            held = sum(lane.queued for lane in queue.report().lanes)
    except EavesError as error:
        say(f"warning: whether the relay still holds events of site {former} is not known: {error.message}")
        return
    if held:
        events = "1 event" if held == 1 else f"{held:,} events"
        say(f"warning: the relay holds {events} of site {former}; the receiver refuses them from site {site},")
        say(f"so they stay in the queue. To let them drain first, deploy with site: {former} and {former}'s token")
        say("until `eaves status` says that nothing waits")
