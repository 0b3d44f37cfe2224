"""A short-lived pod that lets us read a run where only pods reach it: on a volume, or with credentials of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knative.kinds import JOB, POD
from knative.resources.job import RUNS, Training, build_metadata
from knative.resources.metadata import reference
from knative.resources.pod import build_env, build_pull_secrets, build_security, build_temporary
from trainer.reader import PORT, TOKEN_VARIABLE

PART = "reader"
CONTAINER = "reader"
LIFE_S = 1800
"""After which the cluster ends it, whatever became of us."""


def build_reader(training: Training, name: str, token: str, job: Mapping[str, Any]) -> dict[str, Any]:
    """The pod.

    Args:
        training: Whose run.
        name: Of the pod.
        token: Without which it tells nothing.
        job: The Job that made the run. The pod is its own, so that it goes with it at the latest, should we be lost.
    """
    settings, about = training.job, job["metadata"]
    volume, mount = build_temporary()
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": training.knative.trainer_image,
        "command": ["python", "-P", "-m", "trainer.reader"],
        "args": [training.output],
        "env": build_env({TOKEN_VARIABLE: token}),
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
    made = build_metadata(POD, name, training, PART)
    made["metadata"]["ownerReferences"] = [{**reference(JOB, about["name"]), "uid": about["uid"]}]
    return {**made, "spec": pod}
