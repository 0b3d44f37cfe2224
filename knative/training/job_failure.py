"""Errors for a failed training: the meaning of the exit code, the last lines of the log, and the fix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from eaves.errors import (
    ClusterError,
    ConfigError,
    EavesError,
    Fault,
    InputError,
    PlatformError,
    StoppedError,
    StorageError,
)
from knative.training.job import CONTAINER
from knative.training.job_log import find_last_words
from knative.training.job_status import condition, find_exit, last_failed, pods_of
from trainer.lifecycle import ENDINGS

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

LINES = 40
AGAIN = "eaves train --on knative --again"
_CLASSES: Mapping[int, type[EavesError]] = {65: InputError, 74: StorageError, 75: StoppedError}


def explain_failure(cluster: Cluster, job: Mapping[str, Any]) -> EavesError:
    """Build the error for a failed Job. The error's exit code is the trainer's, if the trainer ended with one.

    Raises:
        ClusterError: When a request to the cluster is refused or fails.
    """
    name, state = job["metadata"]["name"], condition(job)
    pod = last_failed(pods_of(cluster, job))
    if pod is None or state.get("reason") == "DeadlineExceeded":
        return PlatformError(
            f"{name} failed: {_reason(state)}", hint=_hint(str(state.get("reason", "")), name, cluster)
        )
    end, advice = find_exit(pod), ""
    try:
        raw = cluster.logs(pod["metadata"]["name"], container=CONTAINER, lines=LINES)
        words, advice = find_last_words(raw)
    except ClusterError as error:
        words = [f"the log of the pod can't be read: {error.message}"]
    code = int(end["exitCode"])
    meaning = _meaning(code, end)
    message = "\n".join([f"{name} failed: {meaning} (exit code {code} of {pod['metadata']['name']})", *words])
    hint = "; ".join(text for text in (advice, _hint(str(end.get("reason", "")), name, cluster)) if text)
    if code in (2, 78):
        return ConfigError([Fault(origin="training", path="", message=message)], hint=hint)
    return _CLASSES.get(code, PlatformError)(message, hint=hint)


def _meaning(code: int, end: Mapping[str, Any]) -> str:
    if end.get("reason") == "OOMKilled":
        return "the process used more memory than its limit in job.pod.resources"
    return next((ending.meaning for ending in ENDINGS if ending.code == code), "the reason is not known")


def _reason(state: Mapping[str, Any]) -> str:
    return (
        ": ".join(str(part) for part in (state.get("reason"), state.get("message")) if part)
        or "the reason is not known"
    )


def _hint(reason: str, name: str, cluster: Cluster) -> str:
    if reason == "OOMKilled":
        return "raise the memory in job.pod.resources of eaves.yaml, then run the same command again"
    if reason == "DeadlineExceeded":
        return f"raise job.deadline_s in eaves.yaml, then run: {AGAIN}"
    return f"kubectl logs job/{name} -n {cluster.namespace} shows the whole log; after the cause is fixed, run: {AGAIN}"
