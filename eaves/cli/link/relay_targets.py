"""Selection of relays by the options of `eaves relay`: those of apps on this machine, or at a site."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from eaves.cli.cluster.platform_options import on_option, read_choice, site_options
from eaves.cli.link.queue_targets import QueueTarget, open_targets
from eaves.cli.shared_options import file_option, state_option
from eaves.errors import InputError, NotFoundError
from eaves.platform import RELAY, RelaySpec

if TYPE_CHECKING:
    from eaves.admin import Queue

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """A relay that a command works on.

    Attributes:
        name: Name of the relay in messages.
        queue: Access to the relay's queue.
        to: The receiver's address; empty when it isn't known.
        credentials: Folder with the site's credentials for the receiver; None when it isn't on this machine.
        option: Options with which `eaves queue` selects the relay's queue.
    """

    name: str
    queue: Queue
    to: str
    credentials: Path | None
    option: str


def relay_options(command: Command) -> Command:
    """Add the options that select a relay to a command; `open_relays` takes their values."""
    app = click.option("--app", default="", metavar="FUNCTION", help="Select the relay of this function.")
    pod = click.option("--pod", default="", help="At a site, select the relay in this pod.")
    for option in (site_options, on_option, file_option, state_option, pod, app):
        command = option(command)
    return command


@contextmanager
def open_relays(*, app: str, pod: str, state_dir: Path, file: Path, **clusters: Any) -> Iterator[Sequence[Relay]]:
    """Open the relays that the options select; there is at least one.

    Raises:
        EavesError: When the options select no relay, or when a relay can't be reached.
    """
    if read_choice(**clusters).knative:
        agent = f"{app}.{RELAY}" if app else ""
        with open_targets(agent=agent, pod=pod, state_dir=state_dir, file=file, **clusters) as targets:
            yield _require([_at_site(target) for target in targets if target.agent.endswith(f".{RELAY}")])
        return
    from eaves.local.queues import open_local_queue
    from eaves.local.state import StateDirectory

    state = StateDirectory(root=state_dir)
    specs = state.read_specs()[0]
    with ExitStack() as stack:
        relays = []
        for name in [app] if app else state.list_relays():
            queue = stack.enter_context(open_local_queue(state, f"{name}.{RELAY}"))
            wanted = specs[name].relay if name in specs else RelaySpec()
            title = f"{name}.{RELAY}"
            to, folder, option = wanted.to.rstrip("/"), wanted.credentials, f"--agent {title}"
            relays.append(Relay(name=title, queue=queue, to=to, credentials=folder, option=option))
        yield _require(relays)


def list_receivers(*, app: str, state_dir: Path, **_: Any) -> dict[str, Path | None]:
    """Return the address of each receiver of the relays deployed here, with the folder of the relay's credentials."""
    from eaves.local.state import StateDirectory

    specs = StateDirectory(root=state_dir).read_specs()[0]
    wanted = [spec.relay for name, spec in specs.items() if spec.relay.enabled and app in ("", name)]
    return {relay.to.rstrip("/"): relay.credentials for relay in wanted}


def require_one(relays: Sequence[Relay]) -> Relay:
    """Return the only relay, for a command that works on one.

    Raises:
        InputError: When there are several relays.
    """
    if len(relays) > 1:
        names = ", ".join(relay.name for relay in relays)
        raise InputError(
            f"{len(relays)} relays are selected, and this command takes one: {names}",
            hint=f"add --app {relays[0].name.partition('.')[0]}",
        )
    return relays[0]


def _at_site(target: QueueTarget) -> Relay:
    link = target.queue.report().link
    option = f"--on knative --pod {target.pod}"
    return Relay(name=str(target), queue=target.queue, to=link.to if link else "", credentials=None, option=option)


def _require(relays: Sequence[Relay]) -> Sequence[Relay]:
    if not relays:
        raise NotFoundError(
            "no relay is deployed", hint="set relay.to in eaves.yaml and run eaves deploy, or name a relay's spool file"
        )
    return relays
