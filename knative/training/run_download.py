"""A run out of a cluster: straight from its URI where we reach it, else through a pod that does."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from eaves.base.backoff import Backoff
from eaves.errors import ClusterError, DeniedError, RunError, StorageError, UnreachableClusterError
from knative.client.kinds import POD, SECRET
from knative.resources.fields.labels import MANAGER
from knative.training.job import TrainingJob
from knative.training.job_status import find_waiting_reason
from knative.training.run_reader import build_reader, build_token
from trainer.progress import TrainingProgress
from trainer.run.run import MANIFEST, Run
from trainer.run.run_server import PORT, TOKEN_HEADER
from trainer.run.run_upload import fetch_from
from trainer.storage import is_uri, open_store

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

Say = Callable[[str], object]
PIECE_BYTES = 4 << 20
"""Of a file at once; each piece is a connection of its own to the pod."""
RETRIES = Backoff(retry=5, first_s=1.0, cap_s=30.0)
"""For one piece of a file: 31 s in all, for a link that is down for a moment."""
POLL_S = 1.0
"""Seconds between two looks at the pod that is to start."""
READY_S = 300.0
"""For the pod to be scheduled, its container image fetched and Python started."""


def download_run(
    cluster: Cluster,
    training: TrainingJob,
    job: Mapping[str, Any],
    local: Path,
    *,
    say: Say,
    progress: TrainingProgress,
) -> Run:
    """Bring a training's run here, checked.

    Args:
        cluster: Where it was trained.
        training: Whose run.
        job: That made it.
        local: Its directory here; what is in it is replaced when it is another run.
        say: Told what is waited for.
        progress: Told how far it is.

    Raises:
        RunError: No run is there, or it is damaged.
        StorageError: It can't be reached.
        ClusterError: The cluster refuses the pod that reads it.
    """
    if is_uri(training.output) and not training.job.output_claim:
        try:
            return fetch_from(open_store(training.output), local, progress)
        except (RunError, StorageError) as error:  # another account's bucket of that name has no run, for one
            say(f"{error.message}; reading it through a pod instead")
    name, token = f"{training.run_name}-read-{secrets.token_hex(2)}", secrets.token_hex(16)
    try:
        cluster.apply(build_token(training, name, token, job), manager=MANAGER)
        cluster.apply(build_reader(training, name, job), manager=MANAGER)
        shelf = PodRunReader(cluster, name, token, training.output)
        shelf.wait(say)
        return fetch_from(shelf, local, progress)
    except DeniedError as error:
        hint = (
            "ask for the rights to create pods and secrets and to get and create pods/portforward, or read the run "
            "where it is"
        )
        raise DeniedError(f"{training.output} can't be read from here: {error.message}", hint=hint) from error
    finally:
        for kind in (POD, SECRET):
            with suppress(ClusterError):  # both go with the Job at the latest
                cluster.delete(kind, name)


class PodRunReader:
    """Files of the run that a reader pod serves, by port-forward or else through the API server's pod proxy.

    Args:
        cluster: Where the pod is.
        pod: Its name.
        token: That it asks for.
        place: Of the run, for messages.
    """

    def __init__(self, cluster: Cluster, pod: str, token: str, place: str) -> None:
        self._cluster, self._pod, self._token, self.uri = cluster, pod, token, place

    def wait(self, say: Say, *, ready_s: float = READY_S) -> None:
        """Wait until the pod answers.

        Args:
            say: Told what the pod waits for.
            ready_s: Longest wait, seconds.

        Raises:
            StorageError: When it doesn't.
            DeniedError: When the current user may reach it neither by port-forward nor by the pod proxy.
            ClusterError: When the cluster can't be asked.
        """
        deadline, said = time.monotonic() + ready_s, ""
        while True:
            pod = self._cluster.get(POD, self._pod) or {}
            phase = pod.get("status", {}).get("phase", "Pending")
            failure = self._try() if phase == "Running" else None
            if phase == "Running" and failure is None:
                return
            reason = find_waiting_reason(pod) if phase == "Pending" else f"it is {phase}"
            reason += f", but {failure.message}" if failure is not None else ""
            if phase in ("Failed", "Succeeded") or time.monotonic() > deadline:
                hint = f"look at it: kubectl describe pod {self._pod} -n {self._cluster.namespace}"
                raise StorageError(f"the pod that reads {self.uri} doesn't answer: {reason}", hint=hint)
            if reason != said and phase == "Pending":
                said = reason
                say(f"{self._pod}: {reason}")
            time.sleep(POLL_S)

    def _try(self) -> ClusterError | None:
        """Why the pod doesn't answer; None when it does."""
        try:
            self._piece(MANIFEST, 0, 1)
        except DeniedError:
            raise
        except ClusterError as error:  # it listens a moment after it runs
            return error
        return None

    def exists(self, name: str) -> bool:
        """Whether there is a file of that name."""
        return self._piece(name, 0, 1) is not None

    def read(self, name: str) -> bytes:
        """A file's bytes.

        Raises:
            StorageError: It isn't there, or can't be read.
        """
        content = bytearray()
        while True:
            piece = self._piece(name, len(content), PIECE_BYTES)
            if piece is None:
                raise StorageError(f"{self.uri} has no {name}", hint="train it again")
            content += piece
            if len(piece) < PIECE_BYTES:
                return bytes(content)

    def _piece(self, name: str, start: int, size: int) -> bytes | None:
        """Some bytes; None when there is no such file. A link that breaks costs only these."""
        path, headers = f"/{quote(name)}?start={start}&size={size}", {TOKEN_HEADER: self._token}
        failures = 0
        while True:
            try:
                answer = self._cluster.ask_pod(self._pod, PORT, path, headers=headers, timeout_s=60.0)
                break
            except UnreachableClusterError:
                failures += 1
                if RETRIES.exhausted(failures):
                    raise
                time.sleep(RETRIES.pause_s(failures))
        if answer.status == 404:
            return None
        if answer.status != 200:
            told = answer.body[:300].decode("utf-8", "replace")
            raise StorageError(f"{self.uri}/{name} can't be read: {told}", hint="try again")
        return answer.body
