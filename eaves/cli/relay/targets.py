"""Which relay `eaves relay` asks: that of an app here, or of one at a site."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from eaves.cli.arguments import file_option, state_option
from eaves.cli.clusters import on_option, read_choice, site_options
from eaves.cli.queue_targets import open_targets
from eaves.errors import InputError, NotFoundError

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
    """

    name: str
    queue: Queue
    to: str
    credentials: Path | None


def relay_options(command: Command) -> Command:
    """The options that say which relay is meant; `open_relay` takes what they say."""
    app = click.option("--app", default="", metavar="FUNCTION", help="The function whose relay it is.")
    pod = click.option("--pod", default="", help="At a site: the relay in this pod.")
    for option in (site_options, on_option, file_option, state_option, pod, app):
        command = option(command)
    return command


@contextmanager
def open_relay(*, app: str, pod: str, state_dir: Path, file: Path, **clusters: Any) -> Iterator[Relay]:
    """The relay that the options mean.

    Raises:
        EavesError: When it can't be told or reached.
    """
    if read_choice(**clusters).knative:
        agent = f"{app}.relay" if app else ""
        with open_targets(agent=agent, pod=pod, state_dir=state_dir, file=file, **clusters) as targets:
            found = [target for target in targets if target.agent.endswith(".relay")]
            if len(found) != 1:
                raise _not_one([target.agent for target in found])
            link = found[0].queue.report().link
            yield Relay(name=str(found[0]), queue=found[0].queue, to=link.to if link else "", credentials=None)
        return
    from eaves.local.queues import open_local_queue
    from eaves.local.state import State

    state = State(root=state_dir)
    apps = [app] if app else state.list_relays()
    if len(apps) != 1:
        raise _not_one([f"{name}.relay" for name in apps])
    spec = state.read_specs()[0].get(apps[0])
    with open_local_queue(state, f"{apps[0]}.relay") as queue:
        yield Relay(
            name=f"{apps[0]}.relay",
            queue=queue,
            to=spec.relay.to if spec else "",
            credentials=spec.relay.credentials if spec else None,
        )


def _not_one(names: list[str]) -> Exception:
    if not names:
        return NotFoundError(
            "no relay is here", hint="set relay.to in eaves.yaml and deploy, or name a list: --sent FILE"
        )
    return InputError(f"there are {len(names)} relays: {', '.join(names)}", hint=f"--app {names[0].partition('.')[0]}")
