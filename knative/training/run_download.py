"""Download of a run: from its URI, or from a volume, by kubectl from a pod that mounts it."""

from __future__ import annotations

import secrets
import subprocess
import tarfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile

from eaves.delivery.response_rules import shorten
from eaves.errors import ClusterError, StorageError
from knative.client.cluster import Cluster
from knative.client.kinds import JOB, POD, Manifest, Object, status_of
from knative.resources.function import COMMAND
from knative.resources.metadata import MANAGER, reference
from knative.resources.pod import build_pod
from knative.status.site_status import Kubectl
from knative.training.job import RUNS, TrainingJob
from knative.training.job_follower import find_waiting_reason
from trainer.progress import TrainingProgress
from trainer.run.run import Run
from trainer.run.run_location import fetch_run
from trainer.storage import open_store

Notify = Callable[[str], object]
READY_S = 300.0
"""Maximum seconds until the reader pod is scheduled, has pulled its container image, and has started Python."""
TRIES, PAUSE_S, COPY_S = 3, 1.0, 500.0
"""Attempts to copy a run, pause between two, and time limit of each, seconds. All fit into `LIFE_S`."""


def download_run(
    cluster: Cluster,
    training: TrainingJob,
    job: Object,
    local: Path,
    *,
    kubectl: Kubectl,
    notify: Notify,
    progress: TrainingProgress,
) -> Run:
    """Download the run of a training, and check it.

    Args:
        cluster: Connection to the cluster of the training.
        training: The training.
        job: The Job that made the run.
        local: Directory for the run on this machine; a different run in it is replaced.
        kubectl: The program kubectl and its options for the cluster, which copies from a volume.
        notify: Function that gets a line on what the download waits for.
        progress: Object that gets the download's progress.

    Raises:
        RunError: When there is no run, or it is damaged.
        StorageError: When the run can't be read.
        ClusterError: When the cluster refuses the pod that mounts the volume.
    """
    if not training.job.output_claim:
        return fetch_run(open_store(training.output), local, progress)
    pod = f"{training.run_name}-read-{secrets.token_hex(2)}"
    local.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{local.name}.", dir=local.parent) as folder:
        try:
            cluster.apply(build_reader(training, pod, job), manager=MANAGER)
            _wait(cluster, pod, notify)
            read = ["tar", "--create", "--directory", training.output, "."]
            command = kubectl.build_exec(cluster.namespace, pod, read, container=CONTAINER)
            copy_archive(command, Path(folder), notify)
        finally:
            with suppress(ClusterError):  # it is deleted with the Job in any case
                cluster.delete(POD, pod)
        return fetch_run(open_store(folder), local, progress)


def _wait(cluster: Cluster, name: str, notify: Notify) -> None:
    """Wait until the reader pod runs."""
    reason = ""
    for pod in cluster.watch(POD, name, timeout_s=READY_S):
        phase = status_of(pod or {}).get("phase", "Pending")
        if phase == "Running":
            return
        before, reason = reason, find_waiting_reason(pod or {}) if phase == "Pending" else f"its phase is {phase}"
        if reason != before:
            notify(f"{name}: {reason}")
        if phase != "Pending":
            break
    hint = f"kubectl events --for pod/{name} -n {cluster.namespace}"  # which outlive the pod
    raise StorageError(f"the pod {name}, which mounts the volume of the run, does not run: {reason}", hint=hint)


def copy_archive(command: list[str], folder: Path, notify: Notify, *, timeout_s: float = COPY_S) -> None:
    """Extract the tar archive that a command writes to its stdout into a folder, in up to `TRIES` attempts.

    Raises:
        StorageError: When the command fails or takes too long, or the archive is damaged.
    """
    for _ in range(TRIES):
        try:
            with TemporaryFile(dir=folder.parent) as archive:
                subprocess.run(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=archive,
                    stderr=subprocess.PIPE,
                    check=True,
                    timeout=timeout_s,
                )
                archive.seek(0)
                with tarfile.open(fileobj=archive) as opened:
                    opened.extractall(folder, filter="data")
                return
        except subprocess.CalledProcessError as error:
            reason = error.stderr.decode(errors="replace")
        except (OSError, subprocess.TimeoutExpired, tarfile.TarError) as error:  # no kubectl, or no connection
            reason = str(error)
        text = f"the run can't be copied: {shorten(reason)}"
        notify(text)
        time.sleep(PAUSE_S)
    raise StorageError(text, hint="the same command copies it again")


PART = "reader"
CONTAINER = "reader"
LIFE_S = 1800
"""Seconds after which the cluster ends the reader pod, even if the process that created it has ended."""


def build_reader(training: TrainingJob, name: str, job: Object) -> Manifest:
    """Build the reader pod, which mounts the volume of a run.

    Args:
        training: The training of the run.
        name: Name of the pod.
        job: The Job that made the run. It owns the pod, so that it is deleted with the Job even if this process ends
            before.
    """
    claim = {"claimName": training.job.output_claim, "readOnly": True}
    volume = {"name": "runs", "persistentVolumeClaim": claim}
    pod = build_pod(
        CONTAINER,
        training.knative.trainer_image,
        {field: value for field, value in training.fragment.items() if field != "resources"},
        command=COMMAND,
        resources={"requests": {"cpu": "100m", "memory": "128Mi"}},
        folders=[(volume, {"name": "runs", "mountPath": RUNS, "readOnly": True})],
        activeDeadlineSeconds=LIFE_S,
        restartPolicy="Never",
        terminationGracePeriodSeconds=1,
    )
    made, about = training.describe(name, PART).build(POD, pod), job["metadata"]
    made["metadata"]["ownerReferences"] = [{**reference(JOB, about["name"]), "uid": about["uid"]}]
    return made
