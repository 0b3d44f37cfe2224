"""Pin of a container image: a pod on each edge node that only keeps the function's container image in use.

A kubelet deletes unused container images when its disk fills, and a function without replicas uses none; a node that
can't reach the registry then can't start the function. Knative keeps no container images on nodes
(knative/caching#666).

Each container image has its own DaemonSet, so the pin of the serving revision is unchanged while the next one is
pulled.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from knative.client.kinds import DAEMON_SET
from knative.resources.metadata import PART_LABEL, PIN_LABEL
from knative.resources.pod import build_pod, find_selector
from knative.resources.workload import build_app_part
from knative.settings import ClusterApp

PART = "pin"
COMMAND = ("python", "-I", "-S", "-c", "import signal; signal.pause()")
"""Command of the pin's container; Python is the only program that every function's container image has."""
PLACEMENT = (
    *("affinity", "imagePullSecrets", "nodeSelector", "priorityClassName", "runtimeClassName", "serviceAccountName"),
    "tolerations",
)
"""Fields of the function's pods that its pins share; a ServiceAccount may have the pull secrets."""
DIGEST_CHARACTERS = 8
UPDATE_STRATEGY = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
"""Update strategy of a pin's DaemonSet; the DaemonSet changes only with its pull secret or the version of Eaves.

On one node after the other, the old pod ends only when the new pod runs, so the container image is always in use.

Source: Kubernetes, apps/v1 RollingUpdateDaemonSet (`maxSurge`, stable since 1.25).
"""


def build_pin(app: ClusterApp) -> dict[str, Any]:
    """Build the DaemonSet that pins an app's container image. It is applied before the function's new revision."""
    image = app.image
    placed = {name: value for name, value in app.pod.items() if name in PLACEMENT}
    key = pin_key(image, find_selector(placed))
    pin = build_app_part(app, f"{app.name}-pin-{key}", PART, own={PIN_LABEL: key})
    pod = build_pod(
        "pin",
        image,
        placed,
        command=COMMAND,
        resources={"requests": {"cpu": "1m", "memory": "12Mi"}, "limits": {"memory": "32Mi"}},
        temporary="",
        serviceAccountName=app.name,
        terminationGracePeriodSeconds=0,
    )
    selected = {"matchLabels": {**pin.selector, PART_LABEL: PART}}
    template = pin.build_template(pod)
    return pin.build(DAEMON_SET, {"selector": selected, "updateStrategy": UPDATE_STRATEGY, "template": template})


def is_pin(one: Mapping[str, Any]) -> bool:
    """Return whether an object is a pin's DaemonSet."""
    labels = one["metadata"].get("labels") or {}
    return one.get("kind") == DAEMON_SET.kind and labels.get(PART_LABEL) == PART


def is_pin_name(app: str, name: str) -> bool:
    """Return whether a DaemonSet has the name of one of an app's pins."""
    return re.fullmatch(rf"{re.escape(app)}-pin-[0-9a-f]{{8}}(-[0-9a-f]{{4}})?", name) is not None


def pin_name(app: str, image: str, selector: Mapping[str, str]) -> str:
    """Return the name of the pin of a container image, such as `APP-pin-1a2b3c4d`."""
    return f"{app}-pin-{pin_key(image, selector)}"


def pin_key(image: str, selector: Mapping[str, str]) -> str:
    """Return the end of a pin's name: the beginning of the digest, and a hash of the nodes' labels if there are any.

    Two revisions with the same container image share a pin, unless they run on different nodes.
    """
    digest = image.rpartition("@sha256:")[2][:DIGEST_CHARACTERS]
    if not selector:
        return digest
    nodes = hashlib.sha256(json.dumps(dict(selector), sort_keys=True).encode()).hexdigest()
    return f"{digest}-{nodes[:4]}"
