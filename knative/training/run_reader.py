"""A short-lived pod through which this machine reads a run that only pods can read.

Such a run is on a volume, or its storage needs credentials that only pods have.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knative.client.kinds import JOB, POD, SECRET
from knative.resources.metadata import reference
from knative.resources.pod import build_pod, build_security, build_temporary
from knative.training.job import RUNS, TrainingJob, build_metadata
from trainer.run.run_server import PORT, TOKEN_VARIABLE

PART = "reader"
CONTAINER = "reader"
TOKEN_KEY = "token"  # noqa: S105 - where it is, not what
LIFE_S = 1800
"""Seconds after which the cluster ends the reader pod, even if the process that created it has ended."""


def build_token(training: TrainingJob, name: str, token: str, job: Mapping[str, Any]) -> dict[str, Any]:
    """Build the Secret with the reader pod's token. Users who may only read pods don't see the token.

    Args:
        training: The training of the run.
        name: Name of the Secret, and of the pod.
        token: Token that the pod requires.
        job: The Job that made the run, as in `build_reader`.
    """
    made = _owned(build_metadata(SECRET, name, training, PART), job)
    return {**made, "type": "Opaque", "immutable": True, "stringData": {TOKEN_KEY: token}}


def build_reader(training: TrainingJob, name: str, job: Mapping[str, Any]) -> dict[str, Any]:
    """Build the reader pod, which serves the files of a run.

    Args:
        training: The training of the run.
        name: Name of the pod, and of the Secret with its token.
        job: The Job that made the run. It owns the pod and the Secret, so that they are deleted with the Job even if
            this process ends before.
    """
    settings = training.job
    folders = [build_temporary()]
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": training.knative.trainer_image,
        "command": ["python", "-P", "-m", "trainer.reader"],
        "args": [training.output],
        "env": [{"name": TOKEN_VARIABLE, "valueFrom": {"secretKeyRef": {"name": name, "key": TOKEN_KEY}}}],
        "ports": [{"name": "http", "containerPort": PORT}],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
        "securityContext": build_security(),
    }
    if settings.secret:
        container["envFrom"] = [{"secretRef": {"name": settings.secret}}]
    if settings.output_claim:
        claim = {"claimName": settings.output_claim, "readOnly": True}
        volume = {"name": "runs", "persistentVolumeClaim": claim}
        folders.append((volume, {"name": "runs", "mountPath": RUNS, "readOnly": True}))
    placement = {name: value for name, value in training.fragment.items() if name != "resources"}
    pod = build_pod(
        container,
        placement,
        folders=folders,
        activeDeadlineSeconds=LIFE_S,
        restartPolicy="Never",
        terminationGracePeriodSeconds=1,
    )
    return {**_owned(build_metadata(POD, name, training, PART), job), "spec": pod}


def _owned(made: dict[str, Any], job: Mapping[str, Any]) -> dict[str, Any]:
    about = job["metadata"]
    owner = {**reference(JOB, about["name"]), "uid": about["uid"]}
    return {**made, "metadata": {**made["metadata"], "ownerReferences": [owner]}}
