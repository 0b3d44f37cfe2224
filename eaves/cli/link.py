"""The queues, relays and receivers that a command's options select, and the state of a relay's link as a sentence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from eaves.cli.output import Command, describe_age
from eaves.cli.site import Place, place_options
from eaves.console.words import count_noun, describe_size
from eaves.errors import InputError, NotFoundError
from eaves.platform import RELAY, RelaySpec

if TYPE_CHECKING:
    from eaves.admin import Queue
    from eaves.admin.report import LinkReport
    from eaves.spool import LedgerLine

BROKER = "the broker"
RECEIVER = "receiver"
"""Value of `QueueTarget.agent` for the queue of a receiver on this machine, which belongs to no agent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueTarget:
    """A queue that a command works on.

    Attributes:
        agent: Name of the queue's agent, `FUNCTION.relay` for a relay's; empty for the local broker's queue.
        pod: Name of the agent's pod at a site; empty on this machine.
        queue: Access to the queue.
        to: Address of a relay's receiver; empty when it isn't known.
        credentials: Folder with the site's credentials for the receiver; None when it isn't on this machine.
    """

    agent: str
    pod: str
    queue: Queue
    to: str = ""
    credentials: Path | None = None

    def __str__(self) -> str:
        if self.agent == RECEIVER:
            return "the receiver"
        return self.pod or (f"agent {self.agent}" if self.agent else BROKER)

    def read_ledger(self, after: int = 0) -> Iterator[LedgerLine]:
        """Yield the lines of the queue's ledger with a higher number than `after`."""
        from eaves.link.audit import read_pages

        return read_pages(lambda number: self.queue.ledger(after=number), after=after)

    @property
    def options(self) -> str:
        """Options with which `eaves queue` selects the queue."""
        return f"--on knative --pod {self.pod}" if self.pod else f"--agent {self.agent}"


def target_options(command: Command) -> Command:
    """Add the options that select queues to a command; `open_targets` takes their values."""
    for option in (
        place_options("file", "state", "on"),
        click.option("--pod", default="", help="At a site, select only the queue of the agent in this pod."),
        click.option("--receiver", is_flag=True, help="Select the queue of the receiver that runs on this machine."),
        click.option(
            "--agent", default="", metavar="FUNCTION[.SOURCE]", help="Select the queue of the agent that runs a source."
        ),
    ):
        command = option(command)
    return command


def relay_options(command: Command) -> Command:
    """Add the options that select a relay to a command; `open_relays` takes their values."""
    for option in (
        place_options("file", "state", "on"),
        click.option("--pod", default="", help="At a site, select the relay in this pod."),
        click.option("--app", default="", metavar="FUNCTION", help="Select the relay of this function."),
    ):
        command = option(command)
    return command


@contextmanager
def open_targets(
    place: Place, *, agent: str, pod: str, receiver: bool = False, every: bool = False
) -> Iterator[Sequence[QueueTarget]]:
    """Open the queues that the options select; there is at least one.

    Without an agent, it is the broker's on this machine, or with `every` each that there is.

    Raises:
        EavesError: When the options select no queue, or when a queue can't be reached.
    """
    if receiver and (agent or pod or place.is_cluster):
        raise click.UsageError(
            "--receiver selects the receiver on this machine; it excludes --agent, --pod, --site and --on."
        )
    if place.is_cluster:
        yield _find_pods(place, agent, pod)
        return
    if pod:
        raise click.UsageError("--pod is for sites; add --on knative or --site.")
    with ExitStack() as stack:
        if receiver:
            yield [stack.enter_context(open_receiver(receiver_spool(place.state_dir)))]
        else:
            from eaves.local.queues import list_queues, open_local_queue
            from eaves.local.state import StateDirectory

            state = StateDirectory(root=place.state_dir)
            names = list_queues(state) if every and not agent else [agent]
            yield [
                QueueTarget(agent=name, pod="", queue=stack.enter_context(open_local_queue(state, name)))
                for name in names
            ]


@contextmanager
def open_receiver(spool: Path) -> Iterator[QueueTarget]:
    """Open the queue of the receiver on this machine, whether it runs or not."""
    from eaves.admin.client import open_queue
    from eaves.admin.server import default_socket
    from eaves.link.receiver_routes import LANE
    from eaves.spool import lease_path

    with open_queue(spool, default_socket(spool), [lease_path(spool, LANE)]) as queue:
        yield QueueTarget(agent=RECEIVER, pod="", queue=queue)


def _find_pods(place: Place, agent: str, pod: str) -> list[QueueTarget]:
    from knative.resources.metadata import AppOwner
    from knative.status.site_status import Kubectl, PodQueue, list_agent_pods

    site = place.one
    cluster = place.open_cluster(site)
    found = list_agent_pods(cluster, AppOwner(app="", agents=place.project.knative.agent_namespace))
    chosen = [one for one in found if agent in ("", one.agent) and pod in ("", one.name)]
    if not chosen:
        known = ", ".join(f"{one.agent} ({one.name})" for one in found) or "none"
        named = f" {agent or pod!r}" if agent or pod else ""
        raise NotFoundError(
            f"no agent{named} runs in the namespace {cluster.namespace} of {cluster.name} (agents there: {known})",
            hint="eaves status --on knative",
        )
    kubectl = Kubectl(kubeconfig=place.kubeconfig, context=site.context)
    return [
        QueueTarget(
            agent=one.agent,
            pod=one.name,
            queue=PodQueue(kubectl, one.namespace, one.name, container=one.container),
        )
        for one in chosen
    ]


@contextmanager
def open_relays(place: Place, *, app: str, pod: str) -> Iterator[Sequence[QueueTarget]]:
    """Open the queues of the relays that the options select; there is at least one.

    Raises:
        EavesError: When the options select no relay, or when a relay can't be reached.
    """
    with ExitStack() as stack:
        if place.is_cluster:
            agent = f"{app}.{RELAY}" if app else ""
            targets = stack.enter_context(open_targets(place, agent=agent, pod=pod))
            relays = [
                QueueTarget(agent=one.agent, pod=one.pod, queue=one.queue, to=link.to if link else "")
                for one in targets
                if one.agent.endswith(f".{RELAY}")
                for link in [one.queue.report().link]
            ]
        else:
            relays = list(_open_local_relays(place, app, stack))
        if not relays:
            hint = "set relay.to in eaves.yaml and run eaves deploy, or name a relay's spool file"
            raise NotFoundError("no relay is deployed", hint=hint)
        yield relays


def _open_local_relays(place: Place, app: str, stack: ExitStack) -> Iterator[QueueTarget]:
    from eaves.local.queues import open_local_queue
    from eaves.local.state import StateDirectory

    state = StateDirectory(root=place.state_dir)
    specs = state.read_specs()[0]
    for name in [app] if app else state.list_relays():
        agent, wanted = f"{name}.{RELAY}", specs[name].relay if name in specs else RelaySpec()
        queue = stack.enter_context(open_local_queue(state, agent))
        yield QueueTarget(agent=agent, pod="", queue=queue, to=wanted.to.rstrip("/"), credentials=wanted.credentials)


def require_one(targets: Sequence[QueueTarget], why: str) -> QueueTarget:
    """Return the only queue, for a command that works on one.

    Args:
        targets: The selected queues.
        why: Reason why one queue is needed, for the message.

    Raises:
        InputError: When there are several queues.
    """
    first = targets[0]
    if len(targets) == 1:
        return first
    names = ", ".join(target.pod or target.agent for target in targets)
    add = f"--pod {first.pod}" if first.pod else f"--app {first.agent.partition('.')[0]}"
    raise InputError(f"{why}, and {len(targets)} queues are selected: {names}", hint=f"add {add}")


def print_ledger(lines: Iterable[LedgerLine]) -> None:
    """Print the lines of a ledger as JSON lines."""
    from eaves.spool.ledger import encode_lines

    for line in lines:
        click.echo(encode_lines([line]), nl=False)


def receiver_spool(state_dir: Path) -> Path:
    """Return the default path of the durable queue of `eaves receiver run`."""
    return state_dir / "receiver" / "receiver.db"


def describe_link(link: LinkReport) -> str:
    """Return a link's state, its reason and its backlog as one sentence: `link up for 2 h; nothing waits`."""
    state, reason = link.state or ("up" if link.up else "down"), link.reason
    since = f" for {describe_age(link.since_age_s)}" if link.since_age_s is not None else ""
    text = f"link {state}{since}"
    if state == "starting":
        text = "link not tried yet"
    elif reason and state == "refused":
        text += f": {reason}"
    elif reason:
        text += f" ({reason})" if state == "down" else f", but forwarding is paused ({reason})"
    drained = (
        f", drained in {describe_age(link.drain_s)}"
        if link.up and link.backlog_events and link.drain_s is not None
        else ""
    )
    return f"{text}; {describe_backlog(link.backlog_events, link.backlog_bytes, link.oldest_age_s)}{drained}"


def describe_backlog(events: int, size_bytes: int, oldest_age_s: float | None, receiver: str = "") -> str:
    """Return how many events wait, for a receiver with this name, as a sentence without its end."""
    to = f" for {receiver}" if receiver else ""
    if not events:
        return f"nothing waits{to}"
    verb, age = "waits" if events == 1 else "wait", describe_age(oldest_age_s)
    waiting = f"{count_noun(events, 'event')} ({describe_size(size_bytes)}) {verb}{to}"
    return f"{waiting}, oldest {age}" if age else waiting
