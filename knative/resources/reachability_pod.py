"""Builder of the doctor's reachability pod, which tries the addresses of sources and triggers within seconds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from eaves.credentials.folder import AUTHORITIES
from eaves.delivery.mqtt.settings import broker_url
from eaves.mqtt.address import parse_address
from eaves.platform import TriggerSpec
from eaves.reachability import TLS, ReachabilityTarget, find_address, to_text
from knative.client.kinds import POD
from knative.resources.pod import Mounted, build_pod, build_security, common_fragment
from knative.resources.sources import configure, find_any_agent_image
from knative.resources.workload import build_app_part
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """An address that a part of an app connects to.

    Attributes:
        by: Part that connects to it: `source gate`, `trigger out`, `relay`.
        address: `HOST:PORT`, or `tls://HOST:PORT`.
        secret: Secret with the credentials for it; empty when it needs none.
        setting: Setting that names this Secret in eaves.yaml, within the source or the trigger.
    """

    by: str
    address: str
    secret: str = ""
    setting: str = "secret"


def find_destinations(app: ClusterApp) -> Iterator[Destination]:
    """Yield every address of an app, in the order of eaves.yaml."""
    for source in app.sources:
        configured = configure(source)
        for address in (*configured.kind.addresses(configured.settings), *configured.claims.addresses()):
            yield Destination(by=f"source {source.name}", address=address, secret=source.secret)
    for trigger in app.triggers:
        if trigger.is_mqtt:
            yield Destination(
                by=f"trigger {trigger.name}",
                address=_broker_address(trigger),
                secret=trigger.mqtt.secret,
                setting="mqtt.secret",
            )
    if app.relay.enabled:
        yield Destination(by="relay", address=find_address(app.relay.to), secret=app.relay.secret)


def _broker_address(trigger: TriggerSpec) -> str:
    broker = parse_address(broker_url(trigger.url))
    return f"{TLS}{broker.endpoint}" if broker.tls else broker.endpoint


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
    }
    pod = build_pod(
        container,
        common_fragment(settings, site),
        folders=[_authorities(f"secret-{index}", secret) for index, secret in enumerate(secrets)],
        activeDeadlineSeconds=LIFE_S,
        restartPolicy="Never",
        terminationGracePeriodSeconds=0,
    )
    return build_app_part(app, name, site.namespace, PART).build(POD, pod)


def _authorities(volume: str, secret: str) -> Mounted:
    items = [{"key": AUTHORITIES, "path": AUTHORITIES}]
    made = {"name": volume, "secret": {"secretName": secret, "items": items, "optional": True}}
    return made, {"name": volume, "mountPath": f"{SECRETS}/{secret}", "readOnly": True}
