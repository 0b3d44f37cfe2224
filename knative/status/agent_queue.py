"""The queue of an agent in a pod, read and changed by `kubectl exec`, which runs Eaves' queue command in the pod."""

from __future__ import annotations

import base64
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eaves.admin.options import to_arguments
from eaves.admin.queue import LEDGER_LIMIT, LIMIT, Action, Changed, EntryContent
from eaves.admin.report import QueueReport, parse_report
from eaves.admin.selector import DEAD, Selector
from eaves.delivery.response_rules import shorten
from eaves.errors import ClusterError, ConflictError, DeniedError, EavesError, InputError, NotFoundError, PlatformError
from eaves.spool import LedgerLine
from eaves.spool.ledger import parse_line
from eaves.web.problem_document import revision_mark
from knative.deploy.inventory import read_inventory
from knative.deploy.ownership import AppOwner
from knative.readiness.wait import wait_routed
from knative.resources.agent import CONTAINER
from knative.rollout import RolloutState, parse_rollout_status
from knative.rollout.service import forget_retries, read_service
from knative.status.agents import AT_ONCE, AgentPod, list_agent_pods

if TYPE_CHECKING:
    from knative.client.cluster import Cluster


MODULE = ("python", "-P", "-m", "eaves.sources.queue")
TIMEOUT_S = 120.0
"""Maximum seconds for one command; purging a million entries takes about a minute."""
_REMOTE = re.compile(r"command terminated with exit code (\d+)")
"""Text that kubectl prints when the command in the container failed; without it, kubectl itself failed."""
_ERRORS: Mapping[int, type[EavesError]] = {InputError.exit_code: InputError, NotFoundError.exit_code: NotFoundError}
ROLE_HINT = "the permission to create pods/exec is missing; docs/10-knative.md has the Role that grants it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kubectl:
    """The program kubectl and the options by which it connects to the cluster.

    Attributes:
        program: Name or path of kubectl.
        kubeconfig: The kubeconfig, or several with `:` between them; None leaves the choice to kubectl.
        context: Context of the kubeconfig; empty means the current one.
    """

    program: str = "kubectl"
    kubeconfig: Path | None = None
    context: str = ""

    def build_exec(self, namespace: str, pod: str, command: Sequence[str], *, container: str = CONTAINER) -> list[str]:
        """Build the command line that runs a command in a container, which is the agent's by default."""
        variables = ["env", f"KUBECONFIG={self.kubeconfig}"] if self.kubeconfig is not None else []
        context = ["--context", self.context] if self.context else []
        where = ["--namespace", namespace, "exec", pod, "--container", container, "--"]
        return [*variables, self.program, *context, *where, *command]


class PodQueue:
    """Implementation of `eaves.admin.Queue` for the agent of one pod.

    Args:
        kubectl: The program kubectl and its options for the cluster.
        namespace: Namespace of the pod.
        pod: Name of the pod.
        container: Container with the queue.
    """

    def __init__(self, kubectl: Kubectl, namespace: str, pod: str, *, container: str = CONTAINER) -> None:
        self._kubectl = kubectl
        self._namespace = namespace
        self._pod = pod
        self._container = container

    def report(self) -> QueueReport:
        """Read the state of each lane of the queue and of its delivery.

        Raises:
            ClusterError: When kubectl isn't installed, or can't run the command in the pod.
            DeniedError: When the current user may not run commands in the pod.
        """
        return parse_report(self._run("status"))

    def entries(self, chosen: Selector, *, limit: int = LIMIT) -> Sequence[Mapping[str, Any]]:
        """List the selected entries of the queue, without their data."""
        found: list[dict[str, Any]] = self._run("list", f"--limit={limit}", *to_arguments(chosen))
        return found

    def entry(self, seq: int) -> EntryContent:
        """Read one entry of the queue with its data.

        Raises:
            NotFoundError: When there is no entry of that number.
        """
        found = self._run("show", str(seq))
        data = base64.b64decode(found["data_base64"])
        return EntryContent(entry=found["entry"], attributes=found["attributes"], data=data)

    def change(self, action: Action, chosen: Selector, *, everything: bool = False, dry_run: bool = False) -> Changed:
        """Apply an action to the selected entries of the queue, or only count the entries.

        Raises:
            InputError: When neither `chosen` nor `everything` selects entries.
        """
        flags = ["--all"] * everything + ["--dry-run"] * dry_run
        return Changed(**self._run(action.value, *flags, *to_arguments(chosen)))

    def ledger(self, *, after: int = 0, limit: int = LEDGER_LIMIT) -> Sequence[LedgerLine]:
        """Read lines of the queue's ledger.

        Raises:
            NotFoundError: When the queue keeps no ledger.
        """
        return [parse_line(values) for values in self._run("ledger", f"--after={after}", f"--limit={limit}")]

    def _run(self, *arguments: str) -> Any:
        words = [*MODULE, *arguments]
        command = self._kubectl.build_exec(self._namespace, self._pod, words, container=self._container)
        if shutil.which(self._kubectl.program) is None:
            raise ClusterError(
                f"{self._kubectl.program} is not installed on this machine, and reading the queue of {self._pod} "
                "needs it",
                hint=f"install {self._kubectl.program}, or run this command on a machine that has it: "
                f"{shlex.join(command)}",
            )
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise ClusterError(
                f"{self._pod} did not answer within {TIMEOUT_S:g} s", hint=shlex.join(command)
            ) from error
        stderr = done.stderr.decode(errors="replace")
        if done.returncode != 0:
            raise _failure(self._pod, stderr, shlex.join(command))
        try:
            return json.loads(done.stdout)
        except ValueError as error:
            raise ClusterError(
                f"{self._pod} answered {len(done.stdout)} bytes that are not JSON", hint=shlex.join(command)
            ) from error


def _failure(pod: str, stderr: str, command: str) -> EavesError:
    """Build the error for a kubectl command that failed, from its output."""
    remote = _REMOTE.search(stderr)
    if remote is None:
        denied = "forbidden" in stderr.lower()
        kind = DeniedError if denied else ClusterError
        return kind(f"{pod}: kubectl exec failed: {shorten(stderr)}", hint=ROLE_HINT if denied else command)
    lines = stderr.splitlines()
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    hints = [line.removeprefix("try: ") for line in lines if line.startswith("try: ")]
    failed = _ERRORS.get(int(remote[1]), PlatformError)
    return failed(f"{pod}: {shorten(' '.join(errors) or stderr)}", hint=hints[0] if hints else None)


LATE_S = 60.0
"""Seconds after a change of shares for which the agents are asked again, since a request that the replaced revision
had already got is refused after the first time."""


def retry_refused(cluster: Cluster, owner: AppOwner, kubectl: Kubectl) -> str:
    """Queue the images that replaced revisions refused again, at each agent of a function; return what was done.

    The images are queued after the gateway sends all requests to the revision that serves. An error is described in the
    returned text, which is empty when there is nothing to report: the command that changed the shares has succeeded.

    Args:
        cluster: Connection to the site's cluster.
        owner: The function's app, with the namespace of its agents on nodes.
        kubectl: The program kubectl and its options for the cluster.
    """
    try:
        state = parse_rollout_status(read_service(cluster, owner.app)).state
        if state is None or not state.to_retry:
            return ""
        return _retry(cluster, owner, kubectl, state)
    except EavesError as error:
        return f"refused images can't be queued again yet: {error.message}"


def _retry(cluster: Cluster, owner: AppOwner, kubectl: Kubectl, state: RolloutState) -> str:
    routed = wait_routed(cluster, owner.app)
    elsewhere = any(item.namespace == owner.agents for item in read_inventory(cluster, owner.app).items)
    faults: list[str] = []
    try:
        pods = list_agent_pods(cluster, owner, all_namespaces=elsewhere)
    except DeniedError as error:
        pods, faults = list_agent_pods(cluster, owner), [error.message]
    pods = [one for one in pods if one.container == CONTAINER]
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="retry") as threads:
        answers = list(threads.map(lambda pod: _ask(kubectl, pod, state.to_retry), pods))
    faults += [answer for answer in answers if isinstance(answer, str)]
    count = sum(answer for answer in answers if isinstance(answer, int))
    if routed and not faults and cluster.clock() - state.since >= LATE_S:
        with suppress(ConflictError):  # a later command does it
            forget_retries(cluster, owner.app, state.to_retry)
    return "; ".join(_describe(state.to_retry, count, faults))


def _ask(kubectl: Kubectl, pod: AgentPod, revisions: Sequence[str]) -> int | str:
    """Queue the images that revisions refused again at one agent; return their number, or why it can't be asked."""
    if not pod.ready:
        return f"{pod.name} isn't ready"
    queue = PodQueue(kubectl, pod.namespace, pod.name, container=pod.container)
    try:
        chosen = [Selector(state=DEAD, reason=revision_mark(revision)) for revision in revisions]
        return sum(queue.change(Action.RETRY, one).entries for one in chosen)
    except EavesError as error:
        return error.message


def _describe(revisions: Sequence[str], count: int, faults: Sequence[str]) -> Iterator[str]:
    names = ", ".join(revisions)
    if count:
        yield f"{count:,} {'image is' if count == 1 else 'images are'} queued again, which {names} refused"
    if faults:
        more = f", and {len(faults) - 1} more" if len(faults) > 1 else ""
        commands = " and ".join(f"eaves queue retry --dead --reason '{revision_mark(one)}'" for one in revisions)
        yield (
            f"images that {names} refused are not queued again everywhere yet ({faults[0]}{more}); "
            f"`eaves reconcile` does it later, or use `{commands}`"
        )
