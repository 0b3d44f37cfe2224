"""A pod on each edge node that does nothing but use the function's container image.

A kubelet deletes container images that nothing uses when its disk fills, and a function at zero uses none; a node that
can't reach the registry then can't start it. Knative keeps no images on nodes (knative/caching#666).
"""

from __future__ import annotations

from typing import Any

from eaves.platform import AppSpec
from knative.kinds import DAEMON_SET
from knative.names import APP_LABEL, PART_LABEL
from knative.resources.metadata import build_object
from knative.resources.pod import build_pull_secrets, build_security
from knative.settings import KnativeSettings, SiteSettings

PART = "pin"
COMMAND = ("python", "-I", "-S", "-c", "import signal; signal.pause()")
"""The container image is sure to have nothing else that waits."""


def build_pin(app: AppSpec, settings: KnativeSettings, site: SiteSettings) -> dict[str, Any]:
    """The DaemonSet. It fetches a new container image before the function's new revision has to start."""
    made = build_object(DAEMON_SET, f"{app.function.name}-pin", app, site, PART)
    container = {
        "name": "pin",
        "image": app.function.image,
        "command": list(COMMAND),
        "resources": {"requests": {"cpu": "1m", "memory": "12Mi"}, "limits": {"memory": "32Mi"}},
        "securityContext": build_security(),
    }
    pod: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "serviceAccountName": app.function.name,
        "terminationGracePeriodSeconds": 0,
        **build_pull_secrets(settings),
        "containers": [container],
    }
    if site.selector:
        pod["nodeSelector"] = dict(site.selector)
    return {
        **made,
        "spec": {
            "selector": {"matchLabels": {APP_LABEL: app.function.name, PART_LABEL: PART}},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "100%"}},
            "template": {"metadata": {"labels": made["metadata"]["labels"]}, "spec": pod},
        },
    }
