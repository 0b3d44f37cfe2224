"""Which relay `eaves relay` asks: that of an app here, or of one at a site."""

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
    """One relay.

    Attributes:
        name: What messages call it.
        queue: Its queue.
        to: The receiver's address; empty when it isn't known.
        credentials: Folder with what the receiver knows the site by; None when it isn't here.
        option: The options of `eaves queue` that find its queue.
    """

    name: str
    queue: Queue
    to: str
    credentials: Path | None
    option: str


def relay_options(command: Command) -> Command:
    """The options that say which relay is meant; `open_relays` takes what they say."""
    app = click.option("--app", default="", metavar="FUNCTION", help="The function whose relay it is.")
    pod = click.option("--pod", default="", help="At a site: the relay in this pod.")
    for option in (site_options, on_option, file_option, state_option, pod, app):
        command = option(command)
    return command


@contextmanager
def open_relays(*, app: str, pod: str, state_dir: Path, file: Path, **clusters: Any) -> Iterator[Sequence[Relay]]:
    """The relays that the options mean; at least one.

    Raises:
        EavesError: When they can't be told or reached.
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
    """The receivers of the relays that are deployed here, by address, with the folder of each relay's credentials."""
    from eaves.local.state import StateDirectory

    specs = StateDirectory(root=state_dir).read_specs()[0]
    wanted = [spec.relay for name, spec in specs.items() if spec.relay.enabled and app in ("", name)]
    return {relay.to.rstrip("/"): relay.credentials for relay in wanted}


def require_one(relays: Sequence[Relay]) -> Relay:
    """The only relay.

    Raises:
        InputError: When there are several.
    """
    if len(relays) > 1:
        names = ", ".join(relay.name for relay in relays)
        raise InputError(f"there are {len(relays)} relays: {names}", hint=f"--app {relays[0].name.partition('.')[0]}")
    return relays[0]


def _at_site(target: QueueTarget) -> Relay:
    link = target.queue.report().link
    option = f"--on knative --pod {target.pod}"
    return Relay(name=str(target), queue=target.queue, to=link.to if link else "", credentials=None, option=option)


def _require(relays: Sequence[Relay]) -> Sequence[Relay]:
    if not relays:
        raise NotFoundError("there is no relay", hint="set relay.to in eaves.yaml and deploy, or name a relay's spool")
    return relays
