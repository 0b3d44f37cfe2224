"""Builder of the doctor's reachability pod, which tries the addresses of sources and triggers within seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eaves.credentials.folder import AUTHORITIES
from eaves.reachability import ReachabilityTarget, to_text
from knative.client.kinds import POD
from knative.resources.app.agent_images import find_any_agent_image
from knative.resources.app.destinations import Destination
from knative.resources.fields.metadata import build_object
from knative.resources.fields.pod import build_pull_secrets, build_security
from knative.settings import KnativeSettings, SiteSettings
from knative.specs import ClusterApp

PART = "doctor"
CONTAINER = "probe"
LIFE_S = 120
"""Seconds after which the cluster ends the pod if the doctor has been killed."""
SECRETS = "/credentials"
REPORT = "/dev/termination-log"
"""File in the container into which the pod writes its report. Source: Kubernetes, default of
`terminationMessagePath`."""


def build_reachability_pod(
    name: str, destinations: Sequence[Destination], app: ClusterApp, settings: KnativeSettings, site: SiteSettings
) -> dict[str, Any]:
    """Build the reachability pod.

    Of a Secret, it mounts only the certificate authorities; it also starts if the Secret is missing.

    Args:
        name: Name of the pod.
        destinations: Addresses to try.
        app: App that the addresses belong to.
        settings: Settings with the agents' container image, which the pod runs.
        site: Site whose namespace the pod runs in.
    """
    secrets = sorted({one.secret for one in destinations if one.secret})
    attempts = [
        ReachabilityTarget(
            address=one.address, authorities=f"{SECRETS}/{one.secret}/{AUTHORITIES}" if one.secret else ""
        )
        for one in destinations
    ]
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": find_any_agent_image(settings),
        "command": ["python", "-P", "-m", "eaves.reachability"],
        "args": [to_text(attempts), REPORT],
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
        "securityContext": build_security(),
        "volumeMounts": [
            {"name": f"secret-{index}", "mountPath": f"{SECRETS}/{secret}", "readOnly": True}
            for index, secret in enumerate(secrets)
        ],
    }
    pod: dict[str, Any] = {
        "activeDeadlineSeconds": LIFE_S,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0,
        **build_pull_secrets(settings),
        "containers": [container],
        "volumes": [_authorities(f"secret-{index}", secret) for index, secret in enumerate(secrets)],
    }
    return {**build_object(POD, name, app, site, PART), "spec": pod}


def _authorities(volume: str, secret: str) -> Mapping[str, Any]:
    items = [{"key": AUTHORITIES, "path": AUTHORITIES}]
    return {"name": volume, "secret": {"secretName": secret, "items": items, "optional": True}}
