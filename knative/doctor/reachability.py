"""Check whether the addresses of sources, MQTT triggers and the relay can be reached from inside the cluster.

Only a pod has the DNS, the network policies and the routes of an agent. So this check, as the only one, creates an
object: a pod that tries the addresses, sends no data, and is always deleted. Apps without addresses get no pod.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from eaves.credentials.folder import AUTHORITIES, TOKEN
from eaves.delivery.mqtt.settings import broker_url
from eaves.errors import DeniedError
from eaves.mqtt.address import parse_address
from eaves.platform import RELAY, TriggerSpec
from eaves.platform.findings import Finding, error, note, ok, warning
from eaves.reachability import TLS, Reached, find_address, parse_report
from knative.client.kinds import POD
from knative.doctor.site import ExaminedSite
from knative.resources.metadata import MANAGER
from knative.resources.pod import Mounted, build_pod, build_security, common_fragment
from knative.resources.sources import configure, find_any_agent_image
from knative.resources.workload import build_app_part
from knative.settings import KnativeSettings, SiteSettings
from knative.specs import ClusterApp
from knative.training.job_follower import find_waiting_reason

CHECK = "reachability"
POLL_S = 0.5
ENDED = ("Succeeded", "Failed")
"""Phases of a pod that has ended. Source: Kubernetes, PodPhase."""


def check_reachability(subject: ExaminedSite) -> Iterator[Finding]:
    """Check from a pod whether each address of the app can be reached."""
    wanted = list(dict.fromkeys(find_destinations(subject.app)))
    if not wanted:
        return
    named = f"whether pods reach {', '.join(dict.fromkeys(one.address for one in wanted))}"
    create = f"kubectl -n {subject.namespace} create"
    if not find_any_agent_image(subject.settings):
        yield note(
            CHECK,
            f"{named} can't be checked: knative.agent_image is not set",
            "build the agents' container image (Dockerfile, target agent) and set knative.agent_image in eaves.yaml",
        )
        return
    if not subject.may_probe:
        yield note(CHECK, f"{named} was not checked, because of --no-pod", "eaves doctor")
        return
    name = f"{subject.app.function.name}-doctor-{secrets.token_hex(3)}"
    pod = build_reachability_pod(name, wanted, subject.app, subject.settings, subject.site)
    try:
        subject.cluster.apply(pod, manager=MANAGER)
    except DeniedError as denied:
        yield note(
            CHECK,
            f"{named} can't be checked: {denied.message}",
            f"{create} role eaves-doctor --verb=create,patch,get,list,delete --resource=pods && "
            f"{create} rolebinding eaves-doctor --role=eaves-doctor --user=USER",
        )
        return
    try:
        ended = _wait(subject, name)
    finally:
        subject.cluster.delete(POD, name, namespace=subject.namespace)
    if ended.get("status", {}).get("phase") != "Succeeded":
        yield _explain_failed(subject, named, ended)
        return
    reports = parse_report(_read_termination_message(ended))[: len(wanted)]
    for one, reached in zip_longest(wanted, reports):  # in the order of the attempts
        if reached is None:
            message = f"whether the {one.by} reaches {one.address} could not be checked: the pod's report is incomplete"
            yield note(CHECK, message)
        elif not reached.failed:
            yield ok(CHECK, f"the {one.by} reaches {one.address}")
        else:
            message = f"the {one.by} can't reach {one.address} from inside the cluster: {reached.message}"
            yield error(CHECK, message, _fix(subject, one, reached))


def _wait(subject: ExaminedSite, name: str) -> Mapping[str, Any]:
    """Wait until the pod with the given name has ended, or until the time limit, and return it."""
    deadline = time.monotonic() + subject.probe_wait_s
    while True:
        pod = subject.cluster.get(POD, name, namespace=subject.namespace) or {}
        if pod.get("status", {}).get("phase") in ENDED or time.monotonic() > deadline:
            return pod
        time.sleep(POLL_S)


def _explain_failed(subject: ExaminedSite, named: str, pod: Mapping[str, Any]) -> Finding:
    """Explain why the pod has tried no address."""
    phase = pod.get("status", {}).get("phase", "")
    said = _read_termination_message(pod)[:200]
    why = find_waiting_reason(pod) if phase in ("", "Pending") else f"its phase is {phase}: {said}".removesuffix(": ")
    fix = f"kubectl -n {subject.namespace} get events --sort-by=.lastTimestamp"
    return warning(CHECK, f"{named} could not be checked, because the pod for the check did not run: {why}", fix)


def _fix(subject: ExaminedSite, one: Destination, reached: Reached) -> str:
    if reached.failed == "name":
        host = one.address.rpartition(":")[0].removeprefix("tls://")
        return (
            f"replace {host} by an IP address or a name that the cluster's DNS can resolve, such as "
            "SERVICE.NAMESPACE.svc; names that end in .local can be resolved only by mDNS"
        )
    if reached.failed == "certificate":
        secret = one.secret or "NAME"
        token = f"--from-file={TOKEN}=FILE " if one.by == RELAY else ""
        name_it = "" if one.secret else f", then set {one.setting} of the {one.by} in eaves.yaml to {secret}"
        return (
            "put the certificate authority that signed its certificate into the Secret: kubectl -n "
            f"{subject.namespace} create secret generic {secret} {token}--from-file={AUTHORITIES}=FILE{name_it}"
        )
    if reached.failed == "tls":
        return f"set the address of the {one.by} in eaves.yaml to its port for TLS, or to a scheme without TLS"
    return (
        f"check that the address is in use, that NetworkPolicies allow it (kubectl -n {subject.namespace} get "
        "networkpolicies), and the firewall between the nodes and the address"
    )


def _read_termination_message(pod: Mapping[str, Any]) -> str:
    statuses: Sequence[Any] = pod.get("status", {}).get("containerStatuses") or [{}]
    terminated = (statuses[0].get("state") or {}).get("terminated") or {}
    return str(terminated.get("message") or terminated.get("reason") or "")


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
    attempts = [(one.address, f"{SECRETS}/{one.secret}/{AUTHORITIES}" if one.secret else "") for one in destinations]
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": find_any_agent_image(settings),
        "command": ["python", "-P", "-m", "eaves.reachability"],
        "args": [json.dumps(attempts), REPORT],
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
