"""A short-lived pod that lets us read a run where only pods reach it: on a volume, or with credentials of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knative.client.kinds import JOB, POD, SECRET
from knative.resources.fields.metadata import reference
from knative.resources.fields.pod import build_pull_secrets, build_security, build_temporary
from knative.training.job import RUNS, TrainingJob, build_metadata
from trainer.run.run_server import PORT, TOKEN_VARIABLE

PART = "reader"
CONTAINER = "reader"
TOKEN_KEY = "token"  # noqa: S105 - where it is, not what
LIFE_S = 1800
"""After which the cluster ends it, whatever became of us."""


def build_token(training: TrainingJob, name: str, token: str, job: Mapping[str, Any]) -> dict[str, Any]:
    """The Secret with the reader's token, which whoever may read pods does not see.

    Args:
        training: Whose run.
        name: Of the Secret, and of the pod.
        token: Without which the pod tells nothing.
        job: As in `build_reader`.
    """
    made = _owned(build_metadata(SECRET, name, training, PART), job)
    return {**made, "type": "Opaque", "immutable": True, "stringData": {TOKEN_KEY: token}}


def build_reader(training: TrainingJob, name: str, job: Mapping[str, Any]) -> dict[str, Any]:
    """The pod.

    Args:
        training: Whose run.
        name: Of the pod, and of the Secret with its token.
        job: The Job that made the run. The pod and the Secret are its own, so that they go with it at the latest,
            should this process be lost.
    """
    settings = training.job
    volume, mount = build_temporary()
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": training.knative.trainer_image,
        "command": ["python", "-P", "-m", "trainer.reader"],
        "args": [training.output],
        "env": [{"name": TOKEN_VARIABLE, "valueFrom": {"secretKeyRef": {"name": name, "key": TOKEN_KEY}}}],
        "ports": [{"name": "http", "containerPort": PORT}],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
        "securityContext": build_security(),
        "volumeMounts": [mount],
    }
    pod: dict[str, Any] = {
        "activeDeadlineSeconds": LIFE_S,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 1,
        **build_pull_secrets(training.knative),
        "containers": [container],
        "volumes": [volume],
    }
    if settings.service_account:
        pod["serviceAccountName"] = settings.service_account
    if settings.secret:
        container["envFrom"] = [{"secretRef": {"name": settings.secret}}]
    if settings.output_claim:
        claim = {"claimName": settings.output_claim, "readOnly": True}
        pod["volumes"].append({"name": "runs", "persistentVolumeClaim": claim})
        container["volumeMounts"].append({"name": "runs", "mountPath": RUNS, "readOnly": True})
    return {**_owned(build_metadata(POD, name, training, PART), job), "spec": pod}


def _owned(made: dict[str, Any], job: Mapping[str, Any]) -> dict[str, Any]:
    about = job["metadata"]
    owner = {**reference(JOB, about["name"]), "uid": about["uid"]}
    return {**made, "metadata": {**made["metadata"], "ownerReferences": [owner]}}
