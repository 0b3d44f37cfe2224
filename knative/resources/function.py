"""Builders of a function: its Knative Service, which scales to zero, the pin of its container image, and its access.

A pin is a pod on each edge node that only keeps the function's container image in use: a kubelet deletes unused
container images when its disk fills, and a function without replicas uses none; a node that can't reach the registry
then can't start the function. Knative keeps no container images on nodes (knative/caching#666). Each container image
has its own DaemonSet, so the pin of the serving revision is unchanged while the next one is pulled.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Sequence

from eaves.base.telemetry import TELEMETRY_OFF
from eaves.config import iter_leaves
from eaves.http_client.proxies import PORTS
from eaves.platform import MAX_TIMEOUT_S
from functions.settings import FunctionSettings
from knative.client.kinds import DAEMON_SET, KSERVICE, NETWORK_POLICY, SERVICE_ACCOUNT, Labels, Manifest, Object
from knative.resources.metadata import (
    ARTIFACT_ANNOTATION,
    PART_LABEL,
    PIN_ANNOTATION,
    PIN_LABEL,
    VERSION_LABEL,
    build_namespace_peer,
    labels,
    labels_of,
)
from knative.resources.pod import (
    CREDENTIALS_FOLDER,
    READABLE,
    build_credentials,
    build_env,
    build_pod,
    find_selector,
)
from knative.resources.workload import build_app_part
from knative.settings import ClusterApp, parse_resolver

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


def build_function(app: ClusterApp) -> Manifest:
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
    placed = bool(find_selector(app.site.pod))
    least = max(scale.min, 1) if placed else scale.min
    window = min(MAX_WINDOW_S, max(MIN_WINDOW_S, round(scale.idle_s)))
    # Requests don't pass Knative's activator, which may be on the other side of the link of such a site.
    direct = {"autoscaling.knative.dev/target-burst-capacity": "0"} if placed else {}
    return {
        "autoscaling.knative.dev/min-scale": str(least),
        "autoscaling.knative.dev/max-scale": str(max(scale.max, least)),
        "autoscaling.knative.dev/window": f"{window}s",
        "queue.sidecar.serving.knative.dev/cpu-resource-request": "25m",
        "queue.sidecar.serving.knative.dev/memory-resource-request": "50Mi",
        "serving.knative.dev/progress-deadline": f"{PULL_S + math.ceil(scale.start_timeout_s)}s",
        **direct,
    }


def _pod(app: ClusterApp) -> Manifest:
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


PIN_PART = "pin"
COMMAND = ("python", "-I", "-S", "-c", "import signal; signal.pause()")
"""Command of the pin's container; Python is the only program that every function's container image has."""
PLACEMENT = (
    *("affinity", "imagePullSecrets", "nodeSelector", "priorityClassName", "runtimeClassName", "serviceAccountName"),
    "tolerations",
)
"""Fields of the function's pods that its pins share; a ServiceAccount may have the pull secrets."""
AWAY = tuple({"key": f"node.kubernetes.io/{state}", "operator": "Exists"} for state in ("not-ready", "unreachable"))
"""Tolerations of pins, besides those of the function's pods.

The taints keep other pods from a node that is away, until it is ready again. A pin's pod is bound to the node before
that, so the node pulls the container image before it gets pods that need it.

Source: Kubernetes, Taints and Tolerations, "Taint Nodes by Condition".
"""
DIGEST_CHARACTERS = 8
UPDATE_STRATEGY = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "100%", "maxUnavailable": 0}}
"""Update strategy of a pin's DaemonSet; the DaemonSet changes only with `PLACEMENT` or the version of Eaves.

On each node the old pod ends only when the new pod runs, so the container image is always in use. All nodes are
updated at once, since a node that is away, and whose new pod doesn't run, would keep others from theirs.

Source: Kubernetes, apps/v1 RollingUpdateDaemonSet (`maxSurge`, stable since 1.25).
"""


def build_pin(app: ClusterApp) -> Manifest:
    """Build the DaemonSet that pins an app's container image. It is applied before the function's new revision."""
    image = app.image
    placed = {name: value for name, value in app.pod.items() if name in PLACEMENT}
    placed["tolerations"] = [*placed.get("tolerations", ()), *AWAY]
    key = pin_key(image, find_selector(placed))
    pin = build_app_part(app, f"{app.name}-pin-{key}", PIN_PART, own={PIN_LABEL: key})
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
    selected = {"matchLabels": {**pin.selector, PART_LABEL: PIN_PART}}
    template = pin.build_template(pod)
    return pin.build(DAEMON_SET, {"selector": selected, "updateStrategy": UPDATE_STRATEGY, "template": template})


def is_pin(one: Object) -> bool:
    """Return whether an object is a pin's DaemonSet."""
    return one.get("kind") == DAEMON_SET.kind and labels_of(one).get(PART_LABEL) == PIN_PART


def is_pin_name(app: str, name: str) -> bool:
    """Return whether a DaemonSet has the name of one of an app's pins."""
    return re.fullmatch(rf"{re.escape(app)}-pin-[0-9a-f]{{8}}(-[0-9a-f]{{4}})?", name) is not None


def pin_name(app: str, image: str, selector: Labels) -> str:
    """Return the name of the pin of a container image, such as `APP-pin-1a2b3c4d`."""
    return f"{app}-pin-{pin_key(image, selector)}"


def pin_key(image: str, selector: Labels) -> str:
    """Return the end of a pin's name: the beginning of the digest, and a hash of the nodes' labels if there are any.

    Two revisions with the same container image share a pin, unless they run on different nodes.
    """
    digest = image.rpartition("@sha256:")[2][:DIGEST_CHARACTERS]
    if not selector:
        return digest
    nodes = hashlib.sha256(json.dumps(dict(selector), sort_keys=True).encode()).hexdigest()
    return f"{digest}-{nodes[:4]}"


SERVING_NAMESPACE = "knative-serving"
REQUEST_PORTS = (8012, 8112)
"""Ports for HTTP and HTTPS of the sidecar in front of the function.

Source: knative/serving, pkg/networking/constants.go.
"""
SCALING_PORT = 9090
"""Port of the sidecar's metrics, which Knative's autoscaler reads.

Two other ports of the sidecar need no rule: 8022 is used by the node's own kubelet, which no policy blocks, and 9091 is
used by nothing unless the cluster collects its metrics. Source: knative/serving, pkg/networking/constants.go and
pkg/autoscaler/metrics."""


def build_account(app: ClusterApp) -> Manifest:
    """Build the ServiceAccount of an app's pods but the function's. It has no role, and no pod gets its token."""
    return build_app_part(app, app.name, "access").build(SERVICE_ACCOUNT, automountServiceAccountToken=False)


def build_network_policy(app: ClusterApp) -> Manifest:
    """Build the function's NetworkPolicy: it allows requests of Serving, and connections to DNS and to dataref hosts.

    A node's own kubelet can always connect, for probes. The function's metrics are read by port-forward, to which no
    policy applies, so the API server needs no rule.
    """
    callers = [build_namespace_peer(name) for name in dict.fromkeys((SERVING_NAMESPACE, app.knative.gateway_namespace))]
    spec = {
        "podSelector": {"matchLabels": {"serving.knative.dev/service": app.name}},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            {"from": callers, "ports": [{"protocol": "TCP", "port": port} for port in REQUEST_PORTS]},
            {"from": callers[:1], "ports": [{"protocol": "TCP", "port": SCALING_PORT}]},
        ],
        "egress": [*build_dns_egress(app.knative.dns), *_references(app)],
    }
    return build_app_part(app, app.name, "access").build(NETWORK_POLICY, spec)


def _references(app: ClusterApp) -> list[Manifest]:
    """Build the egress rules for the hosts that the function fetches data from by `dataref`.

    A NetworkPolicy can only name addresses; the function itself checks the names of the hosts.
    """
    settings = app.serving
    if not settings.dataref_hosts:
        return []
    ends = [host.rpartition(":")[2] for host in settings.dataref_hosts]
    numbers = {int(end) for end in ends if end.isdecimal()} | {PORTS[scheme] for scheme in settings.dataref_schemes}
    public = [{"cidr": network, "except": list(PRIVATE[network])} for network in PRIVATE]
    to = [{"ipBlock": block} for block in (*public, *({"cidr": network} for network in settings.dataref_networks))]
    return [{"to": to, "ports": [{"protocol": "TCP", "port": port} for port in sorted(numbers)]}]


PRIVATE = {
    "0.0.0.0/0": ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"),
    "2000::/3": ("2001::/23", "2001:db8::/32", "2002::/16"),
}
"""The networks with all public addresses, each with its networks that the function may not fetch data from: private
ones, and those of IPv6 that embed addresses of IPv4.

Source: RFC 6890, RFC 4291; `functions.url_policy` refuses them too, unless `dataref_networks` allows them.
"""


def build_dns_egress(resolvers: Sequence[str]) -> list[Manifest]:
    """Build the egress rules that allow DNS queries only to the given resolvers, one rule for each port.

    A rule for port 53 to any address would let all data out, because DNS tunnels carry other traffic to any server.
    """
    found = [parse_resolver(text) for text in resolvers]
    return [
        {
            "to": [peer for peer, open_port in found if open_port == port],
            "ports": [{"protocol": protocol, "port": port} for protocol in ("UDP", "TCP")],
        }
        for port in dict.fromkeys(port for _, port in found)
    ]
