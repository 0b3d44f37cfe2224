"""A training on a cluster that a command follows: the Job is created once, watched, and reported at its end.

The Job also runs when no command follows it. Its name depends on the training, so a command on any machine finds the
same Job for the same training.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from eaves.errors import ClusterError, ConflictError, DeniedError, NotFoundError, UnreachableClusterError
from knative.client.kinds import JOB
from knative.resources.metadata import MANAGER, RUN_LABEL
from knative.training.job import CONTAINER
from knative.training.job_log import LogLine, parse_line
from knative.training.job_status import find_ending, find_exit, find_waiting_reason, pods_of

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

Say = Callable[[str], object]
POLL_S = 1.0
FOLLOW_S = 15.0
"""Seconds after which the Job and its pods are read again, even while a log is followed or the connection is lost."""
PATIENCE_S = 900.0
"""Seconds without a connection to the cluster after which following ends; the Job continues."""
GONE_S = 120.0
_KEPT_LINES = 5000


def create_job(cluster: Cluster, manifest: Mapping[str, Any], *, again: bool, say: Say) -> None:
    """Create a training's Job, unless it exists already.

    Args:
        cluster: Connection to the cluster.
        manifest: Manifest of the Job, built by `knative.training.job`.
        again: Replace a Job that has ended.
        say: Function that gets a text on whether the Job was created or found.

    Raises:
        ConflictError: When another Job makes the same run.
        ClusterError: When a request to the cluster is refused or fails.
    """
    name = manifest["metadata"]["name"]
    found = cluster.get(JOB, name)
    if found is not None and again and find_ending(found):
        _remove(cluster, name)
        found = None
    if found is not None:
        say(f"the Job {name} exists already and {'has ended' if find_ending(found) else 'is running'}")
        return
    run = manifest["metadata"]["labels"][RUN_LABEL]
    for other in cluster.list(JOB, selector=f"{RUN_LABEL}={run}"):
        if not find_ending(other):
            stands = other["metadata"]["name"]
            raise ConflictError(
                f"the Job {stands} is writing the run {run} already, and two Jobs can't write one run",
                hint=f"wait until it has ended, or stop it: kubectl delete job {stands} -n {cluster.namespace}",
            )
    cluster.apply(manifest, manager=MANAGER)
    say(f"the Job {name} was created in {cluster.namespace} of {cluster.name}")


def _remove(cluster: Cluster, name: str) -> None:
    cluster.delete(JOB, name)
    deadline = time.monotonic() + GONE_S
    while cluster.get(JOB, name) is not None:
        if time.monotonic() > deadline:
            raise ClusterError(
                f"the Job {name} still exists {GONE_S:g} s after its deletion",
                hint="kubectl get job NAME -o yaml   # its finalizers keep it",
            )
        time.sleep(POLL_S)


def follow_job(
    cluster: Cluster,
    name: str,
    *,
    on_line: Callable[[LogLine], object],
    say: Say,
    patience_s: float = PATIENCE_S,
    follow_s: float = FOLLOW_S,
) -> dict[str, Any]:
    """Follow a Job to its end, report its log lines and the state of its pods, and return the Job.

    Args:
        cluster: Connection to the Job's cluster.
        name: Name of the Job.
        on_line: Function that gets each log line of the training.
        say: Function that gets a text when something happens to the Job or its pods.
        patience_s: Maximum seconds without a connection to the cluster.
        follow_s: Seconds that the log is followed before the Job itself is read again.

    Raises:
        NotFoundError: When the Job was removed.
        UnreachableClusterError: When there is no connection for `patience_s` seconds.
        ClusterError: When the cluster refuses a request.
    """
    return _Follower(cluster, name, on_line=on_line, say=say, patience_s=patience_s, follow_s=follow_s).run()


class _Follower:
    """Follower of one Job until its end.

    It follows the log and the pods as they are replaced, and continues after a lost connection.
    """

    def __init__(
        self,
        cluster: Cluster,
        name: str,
        *,
        on_line: Callable[[LogLine], object],
        say: Say,
        patience_s: float,
        follow_s: float,
    ) -> None:
        self._cluster, self._name = cluster, name
        self._on_line, self._say, self._patience_s = on_line, say, patience_s
        self._follow_s = follow_s
        self._pod = self._last_line = ""
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._heard: float | None = None
        self._readable = True

    def run(self) -> dict[str, Any]:
        """Follow the Job until it has ended, and return it."""
        lost: float | None = None
        while True:
            try:
                job = self._look()  # also reads the available part of the log
                lost = None
                if find_ending(job):
                    return job
            except UnreachableClusterError as error:
                lost = time.monotonic() if lost is None else lost
                if time.monotonic() - lost > self._patience_s:
                    raise
                self._report(
                    f"the cluster can't be reached; trying again, while the Job {self._name} continues "
                    f"({error.message})"
                )
            time.sleep(POLL_S)

    def _look(self) -> dict[str, Any]:
        job = self._cluster.get(JOB, self._name)
        if job is None:
            hint = "run the same command again; the new Job continues from the last checkpoint"
            raise NotFoundError(f"the Job {self._name} was removed", hint=hint)
        pods = pods_of(self._cluster, job)
        if pods:
            self._change(pods)
            self._read(pods[-1])
        elif job["spec"].get("suspend"):
            self._report(f"{self._name} is suspended: its queue starts it when there is room")
        return job

    def _change(self, pods: list[dict[str, Any]]) -> None:
        """Report the end of the previous pod when another pod of the Job has replaced it."""
        names = [pod["metadata"]["name"] for pod in pods]
        if self._pod and self._pod != names[-1]:
            before = next((pod for pod in pods if pod["metadata"]["name"] == self._pod), None)
            self._report(f"{self._pod} {_end(before)}; {names[-1]} continues")
        if self._pod != names[-1]:
            self._pod, self._heard = names[-1], None
            self._lines.clear()

    def _read(self, pod: Mapping[str, Any]) -> None:
        if pod.get("status", {}).get("phase", "Pending") == "Pending":
            self._report(f"{self._pod}: {find_waiting_reason(pod)}")
            return
        if not self._readable:
            return
        known = set(self._lines)
        # The time span ends now, so no clock is compared; lines that are read twice are known.
        since_s = None if self._heard is None else int(time.monotonic() - self._heard) + 10
        try:
            for line in self._cluster.follow_logs(
                self._pod, container=CONTAINER, since_s=since_s, timeout_s=self._follow_s
            ):
                if line not in known:
                    self._lines.append(line)
                    self._on_line(parse_line(line))
                self._heard = time.monotonic()
        except DeniedError as error:
            self._readable = False
            self._report(f"the log can't be read, so only the result is shown: {error.message}")
        except UnreachableClusterError:
            raise
        except ClusterError as error:  # a pod that is being deleted has no log; the next read shows its state
            self._report(f"{self._pod}: {error.message}")

    def _report(self, text: str) -> None:
        if text != self._last_line:
            self._last_line = text
            self._say(text)


def _end(pod: Mapping[str, Any] | None) -> str:
    from trainer.lifecycle import ENDINGS

    code = find_exit(pod).get("exitCode") if pod else None
    if code is None:
        return "was deleted"
    meaning = next((ending.meaning for ending in ENDINGS if ending.code == code), "unknown")
    return f"ended with {code} ({meaning})"
