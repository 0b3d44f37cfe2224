"""The site that is examined, and checks of its cluster: versions, Knative and its networking layer, DNS, nodes.

Source: knative.dev/pkg, version/version.go (DefaultKubernetesMinVersion of Knative 1.23: v1.34.0); the Deployments and
the label app.kubernetes.io/version in Serving's config/core/deployments and Eventing's config/; knative.dev/networking,
pkg/config/config.go (ingress-class; Istio when it is not set); net-kourier, net-contour and
net-istio, their Services.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from eaves.config import iter_leaves
from eaves.errors import ConfigError, Fault
from eaves.platform.findings import Finding, error, note, ok, warning
from functions.settings import ServeSettings
from knative.client.cluster import Cluster
from knative.client.kinds import (
    BROKER,
    CONFIG_MAP,
    DEPLOYMENT,
    KSERVICE,
    NODE,
    POD,
    SERVICE,
    Manifest,
    Object,
    ObjectKind,
    kind_of,
    spec_of,
)
from knative.resources.metadata import labels_of
from knative.resources.rendering import render_app
from knative.settings import ClusterApp, KnativeSettings
from knative.status.conditions import is_true, name_of
from knative.status.pods import find_untolerated

SERVING_NAMESPACE, EVENTING_NAMESPACE = "knative-serving", "knative-eventing"
_ANY_IMAGE = "example.invalid/none@sha256:" + 64 * "0"
"""Placeholder for the function's container image when eaves.yaml names none, so that the other settings can be
checked."""


@dataclass(kw_only=True)
class ExaminedSite:
    """A site's cluster and an app that would be deployed there.

    Attributes:
        cluster: Connection to the site's cluster.
        app: The app that would be deployed; its function may have no container image yet.
            When the app's site names no namespace, it becomes the one of the connection.
        platforms: Function that asks a registry for the architectures of a container image; it raises OciError. None
            asks no registry.
        trains_in: Namespace of this cluster where trainings run; empty when none run in it.
        manifests: Every object that `deploy` would apply; none when eaves.yaml has faults.
        faults: Faults of eaves.yaml for this site; a missing container image of the function doesn't count.
    """

    cluster: Cluster
    app: ClusterApp
    platforms: Callable[[str], set[str]] | None = None
    trains_in: str = ""
    manifests: tuple[Manifest, ...] = ()
    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        """Render the app's objects."""
        site = self.app.site
        self.app = replace(self.app, site=replace(site, namespace=site.namespace or self.cluster.namespace))
        try:
            self.manifests = render_app(replace(self.app, image=self.app.image or _ANY_IMAGE))
        except ConfigError as found:
            self.faults = found.faults

    @property
    def namespace(self) -> str:
        """Namespace of the app."""
        return self.app.site.namespace

    @property
    def settings(self) -> KnativeSettings:
        """Settings of the app's objects."""
        return self.app.knative

    def config(self, name: str, namespace: str = SERVING_NAMESPACE) -> Mapping[str, str]:
        """Read the values of a ConfigMap; they are empty when it doesn't exist."""
        return (self.cluster.get(CONFIG_MAP, name, namespace=namespace) or {}).get("data") or {}

    @cached_property
    def edge(self) -> list[Manifest]:
        """The nodes that the function's selector chooses."""
        wanted = dict(self.function_pod.get("nodeSelector") or {}).items()
        nodes = self.cluster.list(NODE, namespace="")
        return [node for node in nodes if wanted <= labels_of(node).items()]

    @property
    def function_pod(self) -> Object:
        """Spec of the function's pod; empty when eaves.yaml has faults."""
        return next((spec for kind, spec in self.pods() if kind == KSERVICE.kind), {})

    def kinds(self) -> Iterator[tuple[ObjectKind, str]]:
        """Yield each kind of object that a deploy would apply, with its namespace."""
        seen = {(kind_of(one), str(one["metadata"].get("namespace", ""))) for one in self.manifests}
        yield from sorted(
            ((kind, (namespace or self.namespace) if kind.namespaced else "") for kind, namespace in seen),
            key=lambda found: (found[1], found[0].plural),
        )

    def pods(self) -> Iterator[tuple[str, Object]]:
        """Yield the spec of every pod that a deployment of the app would create, after the kind of its object."""
        for one in self.manifests:
            if spec := spec_of(one).get("template", {}).get("spec"):
                yield one["kind"], spec


KUBERNETES = (34, 37)
"""Minor versions of Kubernetes: the oldest that Knative 1.23 supports, and the newest that Eaves was tested with."""
KNATIVE = (21, 23)
_RELEASE = "https://github.com/knative/{repository}/releases/download/knative-v1.23.0/{file}"
_SERVING = ("activator", "autoscaler", "controller", "webhook")
_EVENTING = ("eventing-controller", "eventing-webhook")
_CLASS = ".ingress.networking.knative.dev"
GATEWAYS = {
    "kourier": ("kourier-system", "kourier-internal"),
    "contour": ("contour-internal", "envoy"),
    "istio": ("istio-system", "knative-local-gateway"),
}
"""Namespace and Service of the gateway of each networking layer, by the first part of its ingress class."""
_INSTALL_KOURIER = (
    "kubectl apply -f https://github.com/knative-extensions/net-kourier/releases/download/knative-v1.23.0/kourier.yaml "
    "&& kubectl -n knative-serving patch configmap config-network --type merge -p "
    """'{"data":{"ingress-class":"kourier.ingress.networking.knative.dev"}}'"""
)
_HOSTS = next(leaf.env for leaf in iter_leaves(ServeSettings) if leaf.path == "dataref_hosts")


def check_server(subject: ExaminedSite) -> Iterator[Finding]:
    """Check the version of Kubernetes."""
    version = subject.cluster.version()
    found = re.match(r"v?1\.(\d+)", version)
    where = f"the API server of {subject.cluster.name} is Kubernetes {version}"
    lowest, highest = KUBERNETES
    if found is None:
        yield note("server", f"{where}, a version number that Eaves can't parse")
    elif int(found[1]) < lowest:
        yield warning(
            "server",
            f"{where}; Knative 1.23 needs at least 1.{lowest}",
            f"upgrade Kubernetes to 1.{lowest} or newer",
        )
    elif int(found[1]) > highest:
        yield note("server", f"{where}, newer than 1.{highest}, the newest version that Eaves was tested with")
    else:
        yield ok("server", where)


def check_serving(subject: ExaminedSite) -> Iterator[Finding]:
    """Check that Knative Serving is installed and runs, and compare its version with the tested versions."""
    install = _install("serving", "serving-crds.yaml", "serving-core.yaml")
    if subject.cluster.serves(KSERVICE.api_version):
        yield from _check_part(subject, "serving", SERVING_NAMESPACE, _SERVING, install)
    else:
        yield error("serving", "Knative Serving is not installed in this cluster", install)


def check_eventing(subject: ExaminedSite) -> Iterator[Finding]:
    """Check that Knative Eventing runs, and has every kind of object that the app needs."""
    files = ("eventing-crds.yaml", "eventing-core.yaml", "in-memory-channel.yaml", "mt-channel-broker.yaml")
    install = _install("eventing", *files)
    if not subject.cluster.serves(BROKER.api_version):
        yield error(
            "eventing", "Knative Eventing is not installed in this cluster: no event reaches the function", install
        )
        return
    yield from _check_part(subject, "eventing", EVENTING_NAMESPACE, _EVENTING, install)
    for kind in dict.fromkeys(kind for kind, _ in subject.kinds()):
        if kind.group.endswith("knative.dev") and not subject.cluster.serves(kind.api_version):
            yield error(
                "eventing",
                f"this cluster does not have {kind.kind} {kind.api_version}: its Knative Eventing is too old",
                install,
            )


def _check_part(
    subject: ExaminedSite, check: str, namespace: str, wanted: tuple[str, ...], install: str
) -> Iterator[Finding]:
    there = {one["metadata"]["name"]: one for one in subject.cluster.list(DEPLOYMENT, namespace=namespace)}
    missing = [name for name in wanted if name not in there]
    if missing:
        yield error(check, f"the CRDs are installed, but {', '.join(missing)} in {namespace} is missing", install)
        return
    down = [name for name in wanted if not (there[name].get("status") or {}).get("availableReplicas")]
    if down:
        yield error(check, f"{', '.join(down)} in {namespace} does not run", f"kubectl -n {namespace} get pods")
        return
    labels = (labels_of(there[name]) for name in wanted)
    versions = sorted({str(one.get("app.kubernetes.io/version", "unknown")) for one in labels})
    installed = f"Knative {check.capitalize()} {' and '.join(versions)}"
    known = re.fullmatch(r"v?1\.(\d+)(\.\d+)?", " ".join(versions))
    if known is not None and KNATIVE[0] <= int(known[1]) <= KNATIVE[1]:
        yield ok(check, installed)
    else:
        yield note(check, f"{installed}; Eaves was tested with 1.{KNATIVE[0]} to 1.{KNATIVE[1]}")


def _install(repository: str, *files: str) -> str:
    return " && ".join(f"kubectl apply -f {_RELEASE.format(repository=repository, file=file)}" for file in files)


def check_network(subject: ExaminedSite) -> Iterator[Finding]:
    """Check that the gateway of the networking layer in config-network exists, and that the NetworkPolicy admits it."""
    chosen = subject.config("config-network").get("ingress-class") or f"istio{_CLASS}"
    layer = chosen.removesuffix(_CLASS)
    if layer not in GATEWAYS:
        yield note("network", f"the networking layer is {chosen}, which Eaves does not know, so it can't be checked")
        return
    namespace, service = GATEWAYS[layer]
    settings = subject.settings
    if subject.cluster.get(SERVICE, service, namespace=namespace) is None:
        yield error(
            "network",
            f"the gateway of the networking layer {layer} (Service {service} in {namespace}) does not exist: no "
            "request reaches a function. The ConfigMap config-network names the layer; without a name it is istio",
            _INSTALL_KOURIER,
        )
    elif settings.network_policy and settings.gateway_namespace != namespace:
        yield error(
            "network",
            f"the NetworkPolicy allows requests from {settings.gateway_namespace}, but the gateway is in {namespace}",
            f"set knative.gateway_namespace in eaves.yaml to {namespace}",
        )
    else:
        yield ok("network", f"the networking layer {layer} has its gateway in {namespace}")


def check_dns(subject: ExaminedSite) -> Iterator[Finding]:
    """Check that the pods exist at which the function's NetworkPolicy, if it has one, allows DNS queries."""
    settings = subject.settings
    if not settings.network_policy or subject.faults:  # the check `settings` reports them
        return
    severity = error if subject.app.function.env.get(_HOSTS) else warning
    missing = False
    for text in settings.dns:
        namespace, _, pods = text.partition("/")
        selector = pods.partition(":")[0]
        if "=" not in selector or subject.cluster.list(POD, namespace=namespace, selector=selector):
            continue
        missing = True
        yield severity(
            "dns",
            f"the NetworkPolicy lets the function resolve names at pods {selector} in {namespace}, "
            "but no such pod exists: if the network enforces the policy, no name of function.dataref_hosts "
            "can be resolved",
            "set knative.dns in eaves.yaml to NAMESPACE/LABEL=VALUE of the cluster's DNS: kubectl get pods -A "
            "--show-labels | grep -i dns",
        )
    if not missing:
        yield ok("dns", f"the NetworkPolicy lets the function resolve names at {', '.join(settings.dns)}")


def check_nodes(subject: ExaminedSite) -> Iterator[Finding]:
    """Check the nodes that the function's selector chooses: their state, their taints and their architecture."""
    chosen_by = (subject.function_pod.get("nodeSelector") or {}).items()
    selector = ",".join(f"{key}={value}" for key, value in chosen_by)
    if not subject.edge:
        what = f"no node has the labels {selector} of the site's selector" if selector else "the cluster has no nodes"
        fix = f"kubectl label node NODE {selector.replace(',', ' ')}" if selector else "kubectl get nodes"
        yield error("nodes", what, fix)
        return
    untolerated = {name_of(node): find_untolerated(node, subject.function_pod) for node in subject.edge}
    usable = [node for node in subject.edge if _accepts_pods(node) and not untolerated[name_of(node)]]
    if usable:
        kinds = Counter(map(architecture_of, usable))
        chosen = f", chosen by {selector}" if selector else ""
        shown = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        yield ok("nodes", f"{len(usable)} of {len(subject.edge)} nodes are ready{chosen}: {shown}")
    else:
        yield error("nodes", f"none of {len(subject.edge)} nodes is ready and accepts the pods", "kubectl get nodes")
    for name, taints in untolerated.items():
        for taint in taints:
            value = f"={taint['value']}" if taint.get("value") else ""
            yield (warning if usable else error)(
                "nodes",
                f"node {name} has the taint {taint['key']}{value}:{taint['effect']}, which the app's pods don't "
                "tolerate, so they don't run there",
                f"set knative.pod.tolerations in eaves.yaml to [{{key: {taint['key']}, operator: Exists}}]",
            )


def architecture_of(node: Object) -> str:
    """Return the processor architecture of a node, such as `arm64`."""
    return str(labels_of(node).get("kubernetes.io/arch", "unknown"))


def _accepts_pods(node: Object) -> bool:
    return is_true(node, "Ready") and not node["spec"].get("unschedulable")
