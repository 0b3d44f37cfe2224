"""A training on a cluster that a command follows: the Job is created once, watched, and reported at its end.

The Job also runs when no command follows it. Its name depends on the training, so a command on any machine finds the
same Job for the same training.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence

from eaves.errors import (
    ClusterError,
    ConfigError,
    ConflictError,
    DeniedError,
    EavesError,
    InputError,
    NotFoundError,
    PlatformError,
    StoppedError,
    StorageError,
    UnreachableClusterError,
)
from knative.client.cluster import Cluster
from knative.client.kinds import JOB, POD, Manifest, Object, status_of
from knative.resources.metadata import MANAGER, RUN_LABEL
from knative.status.conditions import condition, containers, is_true, name_of
from knative.training.job import CONTAINER
from trainer.lifecycle import EXIT_CODES

Notify = Callable[[str], object]
POLL_S = 1.0
MAX_SILENCE_S = 900.0
"""Seconds without a connection to the cluster after which following ends; the Job continues."""
GONE_S = 120.0


def create_job(cluster: Cluster, manifest: Object, *, again: bool, notify: Notify) -> None:
    """Create a training's Job, unless it exists already.

    Args:
        cluster: Connection to the cluster.
        manifest: Manifest of the Job, built by `knative.training.job`.
        again: Replace a Job that has ended.
        notify: Function that gets a text on whether the Job was created or found.

    Raises:
        ConflictError: When another Job makes the same run.
        ClusterError: When a request to the cluster is refused or fails.
    """
    name = name_of(manifest)
    found = cluster.get(JOB, name)
    if found is not None and again and find_ending(found):
        cluster.delete(JOB, name)
        for found in cluster.watch(JOB, name, timeout_s=GONE_S):
            if found is None:
                break
        else:
            message = f"the Job {name} still exists {GONE_S:g} s after its deletion"
            raise ClusterError(message, hint="kubectl get job NAME -o yaml   # its finalizers keep it")
    if found is not None:
        notify(f"the Job {name} exists already and {'has ended' if find_ending(found) else 'is running'}")
        return
    run = manifest["metadata"]["labels"][RUN_LABEL]
    for other in cluster.list(JOB, selector=f"{RUN_LABEL}={run}"):
        if not find_ending(other):
            running = name_of(other)
            raise ConflictError(
                f"the Job {running} is writing the run {run} already, and two Jobs can't write one run",
                hint=f"wait until it has ended, or stop it: kubectl delete job {running} -n {cluster.namespace}",
            )
    cluster.apply(manifest, manager=MANAGER)
    notify(f"the Job {name} was created in {cluster.namespace} of {cluster.name}")


def follow_job(
    cluster: Cluster,
    name: str,
    *,
    on_line: Notify,
    notify: Notify,
) -> Manifest:
    """Follow a Job to its end, report its log lines and the state of its pods, and return the Job.

    Args:
        cluster: Connection to the Job's cluster.
        name: Name of the Job.
        on_line: Function that gets each log line of the training.
        notify: Function that gets a text when something happens to the Job or its pods.

    Raises:
        NotFoundError: When the Job was removed.
        UnreachableClusterError: When there is no connection for `MAX_SILENCE_S` seconds.
        ClusterError: When the cluster refuses a request.
    """
    follower, lost = _Follower(cluster, name, on_line, notify), 0.0
    while True:
        try:
            job = follower.poll()
            if find_ending(job):
                return job
            lost = 0.0
        except UnreachableClusterError as error:
            lost = lost or time.monotonic()
            if time.monotonic() - lost > MAX_SILENCE_S:
                raise
            follower.report(
                f"the cluster can't be reached; trying again, while the Job {name} continues ({error.message})"
            )
        time.sleep(POLL_S)


class _Follower:
    """What was shown of one Job: of its log as its pods are replaced, and of their states."""

    def __init__(self, cluster: Cluster, name: str, on_line: Notify, notify: Notify) -> None:
        self.cluster, self.name, self.on_line, self.notify = cluster, name, on_line, notify
        self.pod = self.last_line = self.last_moment = ""
        self.readable = True

    def poll(self) -> Manifest:
        """Read the Job and then what its newest pod has logged, so that an ended Job's log is complete.

        Of several pods that share the images, only the first trains, so that its log is shown.
        """
        job = self.cluster.get(JOB, self.name)
        if job is None:
            hint = "run the same command again; the new Job continues from the last checkpoint"
            raise NotFoundError(f"the Job {self.name} was removed", hint=hint)
        pods = {
            name_of(pod): pod for pod in pods_of(self.cluster, job) if pod["metadata"]["labels"].get(_INDEX, "0") == "0"
        }
        if pods:
            newest = [*pods][-1]
            if self.pod and self.pod != newest:
                code = find_exit(pods.get(self.pod, {})).get("exitCode")
                end = "was deleted" if code is None else f"ended with {code} ({_describe_code(code)})"
                self.report(f"{self.pod} {end}; {newest} continues")
            if self.pod != newest:
                self.pod, self.last_moment = newest, ""
            self._read(pods[newest])
        elif job["spec"].get("suspend"):
            self.report(f"{self.name} is suspended: its queue starts it when there is room")
        return job

    def _read(self, pod: Object) -> None:
        if status_of(pod).get("phase", "Pending") == "Pending":
            self.report(f"{self.pod}: {find_waiting_reason(pod)}")
        elif self.readable:
            try:
                for moment, line in self.cluster.log_after(self.pod, self.last_moment, container=CONTAINER):
                    self.last_moment = moment
                    self.on_line(parse_line(line))
            except DeniedError as error:
                self.readable = False
                self.report(f"the log can't be read, so only the result is shown: {error.message}")
            except UnreachableClusterError:
                raise
            except ClusterError as error:  # a pod that is being deleted has no log; the next read shows its state
                self.report(f"{self.pod}: {error.message}")

    def report(self, text: str) -> None:
        """Report a text, unless it was the last one."""
        if text != self.last_line:
            self.last_line = text
            self.notify(text)


_INDEX = "batch.kubernetes.io/job-completion-index"
_OWNER = "batch.kubernetes.io/controller-uid"
"""Labels of a pod with its index in a Job of several pods, and with the UID of its Job.

Source: https://kubernetes.io/docs/reference/labels-annotations-taints/.
"""


def find_ending(job: Object) -> str:
    """Return `Complete` or `Failed`; empty while the Job runs."""
    return next((kind for kind in ("Complete", "Failed") if is_true(job, kind)), "")


def pods_of(cluster: Cluster, job: Object) -> list[Manifest]:
    """List a Job's pods, the oldest first, without pods of an earlier Job of the same name."""
    found = cluster.list(POD, selector=f"{_OWNER}={job['metadata']['uid']}")
    return sorted(found, key=lambda pod: (pod["metadata"].get("creationTimestamp", ""), name_of(pod)))


def find_exit(pod: Object) -> Manifest:
    """Return how the trainer in a pod ended (`exitCode`, `reason`, `finishedAt`); empty while that isn't known."""
    ends = (one.get("state", {}).get("terminated") for one in containers(pod) if one["name"] == CONTAINER)
    return dict(next(ends, None) or {})


def find_waiting_reason(pod: Object) -> str:
    """Return why a pod hasn't started, in the words of its status."""
    said = [(one.get("state") or {}).get("waiting") or {} for one in containers(pod)]
    if (placed := condition(pod, "PodScheduled")).get("status") == "False":
        said.append(placed)
    return next(filter(None, map(_join, said)), "the pod is waiting to start on its node")


def _join(state: Object) -> str:
    return ": ".join(str(state[name]) for name in ("reason", "message") if state.get(name))


TEXT = 500
"""Maximum characters of a log line's text. Longer texts are cut, since any program may have written the line."""


def parse_line(raw: str) -> str:
    """Return the text for people of a line of JSON that the trainer logs (`eaves.logs`), or of any other line."""
    try:
        values = json.loads(raw) if raw.startswith("{") else {}
    except ValueError:
        values = {}
    return _plain(values["message"] if isinstance(values.get("message"), str) else raw)


def find_last_words(raw: Sequence[str]) -> tuple[list[str], str]:
    """Return (last lines, fix) from the log of a failed process.

    A process of Eaves ends its log with `error: ...` and, if there is a fix, `try: ...`. For any other log the fix is
    empty.
    """
    errors = [line.removeprefix("error: ") for line in raw if line.startswith("error: ")]
    advice = next((line.removeprefix("try: ") for line in reversed(raw) if line.startswith("try: ")), "")
    if errors:
        return [_plain(line) for line in errors[-5:]], _plain(advice)
    return [parse_line(line) for line in raw if line.strip()][-5:], ""


def _plain(text: object) -> str:
    """Return a text without control characters, which could move a terminal's cursor."""
    return "".join(sign if sign.isprintable() else " " for sign in str(text)[:TEXT]).rstrip()


LINES = 40
RETRY_COMMAND = "eaves train --on knative --again"
_CLASSES: Mapping[int, type[EavesError]] = {65: InputError, 74: StorageError, 75: StoppedError}


def explain_failure(cluster: Cluster, job: Object) -> EavesError:
    """Build the error for a failed Job. The error's exit code is the trainer's, if the trainer ended with one.

    Raises:
        ClusterError: When a request to the cluster is refused or fails.
    """
    name, state = name_of(job), condition(job, "Failed")
    ends = {name_of(pod): find_exit(pod) for pod in pods_of(cluster, job)}
    failed = [pod for pod, end in ends.items() if end.get("exitCode")]
    if not failed or state.get("reason") == "DeadlineExceeded":
        why = _join(state) or "the reason is not known"
        return PlatformError(f"{name} failed: {why}", hint=_hint(str(state.get("reason", "")), name, cluster))
    pod, advice = max(failed, key=lambda pod: str(ends[pod].get("finishedAt", ""))), ""
    try:
        words, advice = find_last_words(cluster.logs(pod, container=CONTAINER, lines=LINES))
    except ClusterError as error:
        words = [f"the log of the pod can't be read: {error.message}"]
    code, reason = int(ends[pod]["exitCode"]), str(ends[pod].get("reason", ""))
    meaning = "the process used more memory than its limit in job.pod.resources"
    if reason != "OOMKilled":
        meaning = _describe_code(code)
    message = "\n".join([f"{name} failed: {meaning} (exit code {code} of {pod})", *words])
    hint = "; ".join(filter(None, (advice, _hint(reason, name, cluster))))
    if code in (2, 78):
        return ConfigError.single("training", "", message, hint=hint)
    return _CLASSES.get(code, PlatformError)(message, hint=hint)


def _describe_code(code: int) -> str:
    return next((ending.meaning for ending in EXIT_CODES if ending.code == code), "the reason is not known")


def _hint(reason: str, name: str, cluster: Cluster) -> str:
    if reason == "OOMKilled":
        return "raise the memory in job.pod.resources of eaves.yaml, then run the same command again"
    if reason == "DeadlineExceeded":
        return f"raise job.deadline_s in eaves.yaml, then run: {RETRY_COMMAND}"
    log = f"kubectl logs job/{name} -n {cluster.namespace} shows the whole log"
    return f"{log}; after the cause is fixed, run: {RETRY_COMMAND}"
