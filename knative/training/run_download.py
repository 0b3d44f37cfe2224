"""Download of a run from a cluster: directly from its URI if this machine can reach it, else through a pod."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from eaves.base.backoff import Backoff
from eaves.errors import ClusterError, DeniedError, RunError, StorageError, UnreachableClusterError
from knative.client.cluster import Cluster
from knative.client.kinds import JOB, POD, Manifest, Object, status_of
from knative.resources.metadata import MANAGER, reference
from knative.resources.pod import Mounted, build_pod
from knative.training.job import RUNS, TrainingJob
from knative.training.job_follower import find_waiting_reason
from trainer.progress import TrainingProgress
from trainer.reader import PORT
from trainer.run.run import MANIFEST, Run
from trainer.run.run_location import fetch_run
from trainer.storage import is_uri, open_store

Notify = Callable[[str], object]
PIECE_BYTES = 4 << 20
"""Maximum bytes of a file that are read with one request; each request is a separate connection to the pod."""
RETRIES = Backoff(retry=5, first_s=1.0, cap_s=30.0)
"""Retries for one piece of a file, 31 s in total, for a connection that is lost for a moment."""
POLL_S = 1.0
"""Seconds between two reads of a pod that is starting."""
READY_S = 300.0
"""Maximum seconds until the reader pod is scheduled, has pulled its container image, and has started Python."""


def download_run(
    cluster: Cluster,
    training: TrainingJob,
    job: Object,
    local: Path,
    *,
    notify: Notify,
    progress: TrainingProgress,
) -> Run:
    """Download the run of a training, and check it.

    Args:
        cluster: Connection to the cluster of the training.
        training: The training.
        job: The Job that made the run.
        local: Directory for the run on this machine; a different run in it is replaced.
        notify: Function that gets a line on what the download waits for.
        progress: Object that gets the download's progress.

    Raises:
        RunError: When there is no run, or it is damaged.
        StorageError: When the run can't be reached.
        ClusterError: When the cluster refuses the pod that reads it.
    """
    if is_uri(training.output) and not training.job.output_claim:
        try:
            return fetch_run(open_store(training.output), local, progress)
        except (RunError, StorageError) as error:  # for example, a bucket of that name in another account has no run
            notify(f"{error.message}; reading the run through a pod instead")
    name = f"{training.run_name}-read-{secrets.token_hex(2)}"
    try:
        cluster.apply(build_reader(training, name, job), manager=MANAGER)
        reader = PodRunReader(cluster, name, training.output)
        reader.wait(notify)
        return fetch_run(reader, local, progress)
    except DeniedError as error:
        hint = "ask for the permissions to create pods and to get and create pods/portforward, or read its storage"
        raise DeniedError(f"{training.output} can't be read from this machine: {error.message}", hint=hint) from error
    finally:
        with suppress(ClusterError):  # it is deleted with the Job in any case
            cluster.delete(POD, name)


class PodRunReader:
    """Reader of a run's files through a reader pod, by port-forward.

    Args:
        pod: Name of the pod.
        place: Path or URI of the run, for error messages.
    """

    def __init__(self, cluster: Cluster, pod: str, place: str) -> None:
        self._cluster, self._pod, self.uri = cluster, pod, place

    def wait(self, notify: Notify) -> None:
        """Wait until the reader pod answers.

        Args:
            notify: Function that gets a line on what the pod waits for.
        """
        deadline, reported = time.monotonic() + READY_S, ""
        while True:
            pod = self._cluster.get(POD, self._pod) or {}
            phase = status_of(pod).get("phase", "Pending")
            reason = find_waiting_reason(pod) if phase == "Pending" else f"its phase is {phase}"
            if phase == "Running":
                try:
                    self._piece(MANIFEST, 0, 1)
                except DeniedError:
                    raise
                except ClusterError as error:  # the pod listens a moment after it has started
                    reason += f", but {error.message}"
                else:
                    return
            if phase in ("Failed", "Succeeded") or time.monotonic() > deadline:
                hint = f"kubectl describe pod {self._pod} -n {self._cluster.namespace}"
                raise StorageError(f"the pod that reads {self.uri} does not answer: {reason}", hint=hint)
            if reason != reported and phase == "Pending":
                reported = reason
                notify(f"{self._pod}: {reason}")
            time.sleep(POLL_S)

    def exists(self, name: str) -> bool:
        """Return whether the run has a file of that name."""
        return self._piece(name, 0, 1) is not None

    def read(self, name: str) -> bytes:
        """Read a file of the run."""
        content = bytearray()
        while True:
            piece = self._piece(name, len(content), PIECE_BYTES)
            if piece is None:
                raise StorageError(f"{self.uri} has no {name}", hint="train the model again")
            content += piece
            if len(piece) < PIECE_BYTES:
                return bytes(content)

    def _piece(self, name: str, start: int, size: int) -> bytes | None:
        """Read some bytes of a file; return None when there is no such file.

        After a lost connection, only these bytes are read again.
        """
        path, failures = f"/{quote(name)}?start={start}&size={size}", 0
        while True:
            try:
                answer = self._cluster.ask_pod(self._pod, PORT, path, timeout_s=60.0)
                break
            except UnreachableClusterError:
                failures += 1
                if RETRIES.exhausted(failures):
                    raise
                time.sleep(RETRIES.pause_s(failures))
        if answer.status == 404:
            return None
        if answer.status != 200:
            text = answer.body[:300].decode("utf-8", "replace")
            raise StorageError(f"{self.uri}/{name} can't be read: {text}", hint="try again")
        return answer.body


PART = "reader"
CONTAINER = "reader"
LIFE_S = 1800
"""Seconds after which the cluster ends the reader pod, even if the process that created it has ended."""


def build_reader(training: TrainingJob, name: str, job: Object) -> Manifest:
    """Build the reader pod, which serves the files of a run.

    Args:
        training: The training of the run.
        name: Name of the pod.
        job: The Job that made the run. It owns the pod, so that it is deleted with the Job even if this process ends
            before.
    """
    settings, folders = training.job, list[Mounted]()
    if settings.output_claim:
        claim = {"claimName": settings.output_claim, "readOnly": True}
        volume = {"name": "runs", "persistentVolumeClaim": claim}
        folders.append((volume, {"name": "runs", "mountPath": RUNS, "readOnly": True}))
    pod = build_pod(
        CONTAINER,
        training.knative.trainer_image,
        {field: value for field, value in training.fragment.items() if field != "resources"},
        command=["python", "-P", "-m", "trainer.reader"],
        args=[training.output],
        resources={"requests": {"cpu": "100m", "memory": "128Mi"}},
        folders=folders,
        container={"envFrom": [{"secretRef": {"name": settings.secret}}]} if settings.secret else None,
        activeDeadlineSeconds=LIFE_S,
        restartPolicy="Never",
        terminationGracePeriodSeconds=1,
    )
    made, about = training.describe(name, PART).build(POD, pod), job["metadata"]
    made["metadata"]["ownerReferences"] = [{**reference(JOB, about["name"]), "uid": about["uid"]}]
    return made
