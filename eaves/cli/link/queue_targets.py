"""Selection of queues by the options of `eaves queue`: the broker's, one agent's, or those of a site's agents."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from eaves.cli.cluster.platform_options import (
    PlatformChoice,
    choose_site,
    load_scope,
    on_option,
    open_site,
    read_choice,
    site_options,
)
from eaves.cli.shared_options import file_option, state_option
from eaves.errors import InputError, NotFoundError

if TYPE_CHECKING:
    from eaves.admin import Queue
    from knative.client.cluster import Cluster
    from knative.status.agent_status import AgentPod

RECEIVER = "receiver"
"""Value of `QueueTarget.agent` for the queue of a receiver on this machine, which belongs to no agent."""

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueTarget:
    """A queue that a command works on.

    Attributes:
        agent: Name of the queue's agent, `FUNCTION` on this machine and `FUNCTION.SOURCE` at a site; empty for the
            local broker's queue.
        pod: Name of the agent's pod at a site; empty on this machine.
        queue: Access to the queue.
    """

    agent: str
    pod: str
    queue: Queue

    def __str__(self) -> str:
        if self.agent == RECEIVER:
            return "the receiver"
        return self.pod or (f"agent {self.agent}" if self.agent else "the broker")


def target_options(command: Command) -> Command:
    """Add the options that select queues to a command; `open_targets` takes their values."""
    agent = click.option(
        "--agent", default="", metavar="FUNCTION[.SOURCE]", help="Select the queue of the agent that runs a source."
    )
    receiver = click.option(
        "--receiver", is_flag=True, help="Select the queue of the receiver that runs on this machine."
    )
    pod = click.option("--pod", default="", help="At a site, select only the queue of the agent in this pod.")
    for option in (site_options, on_option, file_option, state_option, pod, receiver, agent):
        command = option(command)
    return command


@contextmanager
def open_targets(
    *, agent: str, pod: str, state_dir: Path, file: Path, receiver: bool = False, **clusters: Any
) -> Iterator[Sequence[QueueTarget]]:
    """Open the queues that the options select; there is at least one.

    Raises:
        EavesError: When the options select no queue, or when a queue can't be reached.
    """
    choice = read_choice(**clusters)
    if receiver and (agent or pod or choice.knative):
        raise click.UsageError(
            "--receiver selects the receiver on this machine; it excludes --agent, --pod, --site and --on."
        )
    if receiver:
        with _open_receiver(state_dir) as queue:
            yield [QueueTarget(agent=RECEIVER, pod="", queue=queue)]
        return
    if choice.knative:
        yield _open_pods(file, choice, agent, pod)
        return
    from eaves.local.queues import open_local_queue
    from eaves.local.state import StateDirectory

    if pod:
        raise click.UsageError("--pod is for sites; add --on knative or --site.")
    with open_local_queue(StateDirectory(root=state_dir), agent) as queue:
        yield [QueueTarget(agent=agent, pod="", queue=queue)]


@contextmanager
def _open_receiver(state_dir: Path) -> Iterator[Queue]:
    from eaves.admin.client import open_queue
    from eaves.admin.endpoints import default_socket
    from eaves.cli.link.receiver_settings import receiver_spool
    from eaves.receiver.intake import LANE
    from eaves.spool import lease_path

    spool = receiver_spool(state_dir)
    with open_queue(spool, default_socket(spool), [lease_path(spool, LANE)]) as queue:
        yield queue


def require_one(targets: Sequence[QueueTarget]) -> QueueTarget:
    """Return the only queue, for a command with numbers of entries, which are unique within one queue only.

    Raises:
        InputError: When there are several queues.
    """
    if len(targets) > 1:
        names = ", ".join(target.pod for target in targets)
        raise InputError(
            f"the numbers of entries are unique within one queue only, and {len(targets)} queues are selected: {names}",
            hint=f"add --pod {targets[0].pod}",
        )
    return targets[0]


def _open_pods(file: Path, choice: PlatformChoice, agent: str, pod: str) -> list[QueueTarget]:
    from knative.deploy.ownership import AppOwner
    from knative.status.agent_queue import Kubectl, PodQueue
    from knative.status.agent_status import list_agent_pods

    scope = load_scope(file)
    site = choose_site(scope.sites, choice)
    cluster = open_site(site, choice)
    owner = AppOwner(app="", agents=scope.knative.agent_namespace)
    found = list_agent_pods(cluster, owner)
    kubectl = Kubectl(kubeconfig=choice.kubeconfig, context=site.context)
    chosen = [one for one in found if agent in ("", one.agent) and pod in ("", one.name)]
    if not chosen:
        raise _nothing_found(cluster, found, agent or pod)
    return [
        QueueTarget(
            agent=one.agent,
            pod=one.name,
            queue=PodQueue(kubectl, one.namespace, one.name, container=one.container),
        )
        for one in chosen
    ]


def _nothing_found(cluster: Cluster, found: Sequence[AgentPod], name: str) -> NotFoundError:
    known = ", ".join(f"{one.agent} ({one.name})" for one in found) or "none"
    named = f" {name!r}" if name else ""
    return NotFoundError(
        f"no agent{named} runs in the namespace {cluster.namespace} of {cluster.name} (agents there: {known})",
        hint="eaves status --on knative",
    )
