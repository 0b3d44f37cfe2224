"""Builder of the Knative Service of a function, which scales to zero."""

from __future__ import annotations

import math
from typing import Any

from eaves.base.telemetry import TELEMETRY_OFF
from eaves.config import iter_leaves
from eaves.platform import MAX_TIMEOUT_S
from functions.settings import FunctionSettings
from knative.client.kinds import KSERVICE
from knative.resources.metadata import ARTIFACT_ANNOTATION, PIN_ANNOTATION, VERSION_LABEL, labels
from knative.resources.pin import pin_name
from knative.resources.pod import (
    CREDENTIALS_FOLDER,
    READABLE,
    build_credentials,
    build_env,
    build_pod,
    find_selector,
)
from knative.resources.workload import build_app_part
from knative.settings import ClusterApp

PORT = 8080
CONTAINER = "function"
"""Name of the function's container; the sidecar beside it is `queue-proxy`."""
VISIBILITY, CLUSTER_LOCAL = "networking.knative.dev/visibility", "cluster-local"
MIN_WINDOW_S, MAX_WINDOW_S = 6, 3600
"""Limits of the autoscaler's window in whole seconds.

Source: knative/serving, pkg/apis/autoscaling/register.go: WindowMin, WindowMax.
"""
RESOURCES = {"requests": {"cpu": "250m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}}
"""Resources of the function's container, which `knative.pod` may change. Knative's sidecar adds 25m CPU."""
PULL_S = 600
"""Seconds that are allowed for pulling the container image, in addition to the start timeout of the function."""
_ENV = {leaf.path: leaf.env for leaf in iter_leaves(FunctionSettings)}


def build_function(app: ClusterApp) -> dict[str, Any]:
    """Build the Knative Service of an app. It never sets traffic, which the rollout owns.

    The Knative Service names no ServiceAccount. The API server's dry run makes a pod from the Knative Service, for
    which the ServiceAccount would have to exist already. A ServiceAccount would have no effect, since the pod gets no
    token.
    """
    function = app.function
    visibility = {} if app.knative.public else {VISIBILITY: CLUSTER_LOCAL}
    nodes = find_selector(app.pod)
    pinned = {PIN_ANNOTATION: pin_name(function.name, app.image, nodes)} if app.knative.pin else {}
    version = {VERSION_LABEL: function.artifact_digest[:12]} if function.artifact_digest else {}
    provenance = {ARTIFACT_ANNOTATION: function.artifact_digest} if function.artifact_digest else {}
    template = {
        "metadata": {
            "labels": {**labels(function.name, function.site, "function"), **version},
            "annotations": _scaling(app) | provenance,
        },
        "spec": _pod(app),
    }
    service = build_app_part(app, function.name, "function", own={**version, **visibility})
    return service.build(KSERVICE, {"template": template}, annotations=pinned)


def _find_concurrency(app: ClusterApp) -> int:
    """Return the number of concurrent predictions of a replica, also Knative's limit of requests for a replica.

    With the setting 0, the function counts its CPUs when it starts, so the number isn't known here; 1 is returned then,
    which suits a small node.
    """
    return app.function.concurrency or 1


def _scaling(app: ClusterApp) -> dict[str, str]:
    scale = app.function.scale
    least = max(scale.min, 1) if find_selector(app.site.pod) else scale.min
    window = min(MAX_WINDOW_S, max(MIN_WINDOW_S, round(scale.idle_s)))
    return {
        "autoscaling.knative.dev/min-scale": str(least),
        "autoscaling.knative.dev/max-scale": str(max(scale.max, least)),
        "autoscaling.knative.dev/window": f"{window}s",
        "queue.sidecar.serving.knative.dev/cpu-resource-request": "25m",
        "queue.sidecar.serving.knative.dev/memory-resource-request": "50Mi",
        "serving.knative.dev/progress-deadline": f"{PULL_S + math.ceil(scale.start_timeout_s)}s",
    }


def _pod(app: ClusterApp) -> dict[str, Any]:
    secret = app.knative.dataref_secret
    # Without successThreshold, Knative's default, it refuses to change shares if the revision has a name. There is no
    # period, as the sidecar probes many times a second.
    probes = {
        "readinessProbe": {"successThreshold": 1, "httpGet": {"path": "/health/readiness", "port": PORT}},
        "livenessProbe": {"httpGet": {"path": "/health/liveness", "port": PORT}},
    }
    limit = math.ceil(max((one.delivery.timeout_s for one in app.triggers if not one.url), default=MAX_TIMEOUT_S))
    return build_pod(
        CONTAINER,
        app.image,
        app.pod,
        env=build_env(_environment(app)),
        ports={"http1": PORT},
        resources=RESOURCES,
        folders=[build_credentials(secret, mode=READABLE)] if secret else [],
        container=probes,
        containerConcurrency=_find_concurrency(app),
        responseStartTimeoutSeconds=limit,
        timeoutSeconds=limit,
    )


def _environment(app: ClusterApp) -> dict[str, str]:
    """Build the environment variables of the function's process, which are the same on the local platform.

    Only the folder of credentials differs: in the pod it is the mounted Secret.
    """
    function = app.function
    values = {
        **TELEMETRY_OFF,
        _ENV["name"]: function.name,
        _ENV["site"]: function.site,
        _ENV["concurrency"]: str(_find_concurrency(app)),
        **({_ENV["artifact_digest"]: function.artifact_digest} if function.artifact_digest else {}),
    }
    given = {name: value for name, value in function.env.items() if name != _ENV["dataref_credentials"]}
    secret = {_ENV["dataref_credentials"]: CREDENTIALS_FOLDER} if app.knative.dataref_secret else {}
    return {**values, **given, **secret}
