"""The queue of an agent in a pod, read and changed by `kubectl exec`, which runs Eaves' queue command in the pod."""

from __future__ import annotations

import base64
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eaves.admin.options import to_arguments
from eaves.admin.queue import LEDGER_LIMIT, LIMIT, Action, Changed, EntryContent
from eaves.admin.report import QueueReport, parse_report
from eaves.admin.selector import Selector
from eaves.delivery.response_rules import shorten
from eaves.errors import ClusterError, DeniedError, EavesError, InputError, NotFoundError, PlatformError
from eaves.link.ledger_lines import parse_line
from eaves.spool import LedgerLine
from knative.resources.agent import CONTAINER

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
