"""Warning when a site is renamed while its relay still holds events under the former name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from eaves.cli.display.output import say
from eaves.platform import RELAY

if TYPE_CHECKING:
    from eaves.platform import AppSpec


def warn_of_waiting(state_dir: Path, app: AppSpec) -> None:
    """Print a warning before a deploy when the receiver would refuse the relay's events under the site's new name.

    Args:
        state_dir: State directory of the local platform.
        app: The app that is about to be deployed.
    """
    from eaves.errors import EavesError
    from eaves.local.queues import open_local_queue
    from eaves.local.state import StateDirectory

    state, name, site = StateDirectory(root=state_dir), app.function.name, app.function.site
    before = state.read_specs()[0].get(name)
    if before is None or before.function.site == site or not state.spool_of(name, RELAY).is_file():
        return
    former = before.function.site
    try:
        with open_local_queue(state, f"{name}.{RELAY}") as queue:
            held = sum(lane.queued for lane in queue.report().lanes)
    except EavesError as error:
        say(f"warning: the relay's queue can't be checked for events of site {former}: {error.message}")
        return
    if held:
        events = "1 event" if held == 1 else f"{held:,} events"
        say(f"warning: the relay holds {events} of site {former}; the receiver refuses them from site {site},")
        say(f"so they stay in the queue. To deliver them first, deploy with `site: {former}` and the token of {former}")
        say("until `eaves status` shows that nothing waits")
