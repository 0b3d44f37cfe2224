"""Check of Knative's networking layer: which one is used, whether it runs, and whether NetworkPolicies admit it.

Source: knative.dev/networking, pkg/config/config.go (ingress-class and its older spelling; Istio when neither is set)
and config/config-network.yaml; net-kourier, config/300-gateway.yaml; net-contour and net-istio, their Services.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from knative.client.kinds import SERVICE
from knative.doctor.context import SERVING_NAMESPACE, ExaminedSite
from knative.doctor.finding import OK, DoctorFinding, error, note, ok, warning

KOURIER = "kourier.ingress.networking.knative.dev"
DEFAULT_CLASS = "istio.ingress.networking.knative.dev"
DEFAULT_DOMAIN = "svc.cluster.local"


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkingLayer:
    """A networking layer of Knative.

    Attributes:
        name: Name of the layer for people.
        namespace: Namespace of its gateway.
        service: Service of the gateway for requests from within the cluster.
        controller: Deployment of its controller in knative-serving; empty when the controller is in another namespace.
        install: Command that installs it.
    """

    name: str
    namespace: str
    service: str
    controller: str
    install: str


_INSTALL = (
    "kubectl apply -f https://github.com/knative-extensions/{repository}/releases/download/knative-v1.23.0/{file} && "
    "kubectl -n knative-serving patch configmap config-network --type merge -p "
    """'{{"data":{{"ingress-class":"{name}.ingress.networking.knative.dev"}}}}'"""
)
LAYERS = {
    KOURIER: NetworkingLayer(
        name="Kourier",
        namespace="kourier-system",
        service="kourier-internal",
        controller="net-kourier-controller",
        install=_INSTALL.format(repository="net-kourier", file="kourier.yaml", name="kourier"),
    ),
    "contour.ingress.networking.knative.dev": NetworkingLayer(
        name="Contour",
        namespace="contour-internal",
        service="envoy",
        controller="net-contour-controller",
        install=_INSTALL.format(repository="net-contour", file="net-contour.yaml", name="contour"),
    ),
    DEFAULT_CLASS: NetworkingLayer(
        name="Istio",
        namespace="istio-system",
        service="knative-local-gateway",
        controller="net-istio-controller",
        install=_INSTALL.format(repository="net-istio", file="net-istio.yaml", name="istio"),
    ),
}


def check_network(subject: ExaminedSite) -> Iterator[DoctorFinding]:
    """Check the networking layer in config-network, whether its requests are admitted, and the function's domain."""
    values = subject.config("config-network")
    chosen = values.get("ingress-class") or values.get("ingress.class") or ""
    layer = LAYERS.get(chosen or DEFAULT_CLASS)
    if layer is None:
        yield note(
            "network",
            f"the networking layer is {chosen}, which Eaves does not know, so it can't be checked",
            "set knative.gateway_namespace in eaves.yaml to the namespace of its gateway",
        )
        return
    there = _check_layer(subject, layer, chosen)
    yield there
    if there.severity == OK:
        yield from _check_policy(subject, layer)
        yield from _check_domain(subject)


def _check_layer(subject: ExaminedSite, layer: NetworkingLayer, chosen: str) -> DoctorFinding:
    gateway = subject.cluster.get(SERVICE, layer.service, namespace=layer.namespace)
    running = {
        one["metadata"]["name"]: (one.get("status") or {}).get("availableReplicas")
        for one in subject.deployments(SERVING_NAMESPACE)
    }
    if layer.controller not in running and gateway is None:
        named = (
            f"the ConfigMap config-network names {layer.name}"
            if chosen
            else ("the ConfigMap config-network names no networking layer, which means Istio")
        )
        install = layer.install if chosen else LAYERS[KOURIER].install
        return error("network", f"{named}, but this cluster does not have it: no request reaches a function", install)
    if gateway is None:
        missing = f"the gateway of {layer.name} (Service {layer.service} in {layer.namespace}) does not exist"
        return error("network", missing, layer.install)
    if not running.get(layer.controller):
        return error(
            "network",
            f"{layer.controller} in {SERVING_NAMESPACE} does not run: changes of routes have no effect",
            f"kubectl -n {SERVING_NAMESPACE} get pods -l app={layer.controller}",
        )
    return ok("network", f"the networking layer {layer.name} runs, with its gateway in {layer.namespace}")


def _check_policy(subject: ExaminedSite, layer: NetworkingLayer) -> Iterator[DoctorFinding]:
    settings = subject.settings
    if settings.network_policy and settings.gateway_namespace != layer.namespace:
        yield error(
            "network",
            f"the NetworkPolicy allows requests from {settings.gateway_namespace}, but the gateway is in "
            f"{layer.namespace}",
            f"set knative.gateway_namespace in eaves.yaml to {layer.namespace}",
        )


def _check_domain(subject: ExaminedSite) -> Iterator[DoctorFinding]:
    if not subject.settings.public:
        return
    domains = [name for name in subject.config("config-domain") if not name.startswith("_")]
    if not set(domains) - {DEFAULT_DOMAIN}:
        yield warning(
            "network",
            "knative.public is on, but the cluster has no domain: the function's address can be resolved only "
            "inside the cluster",
            f"kubectl -n {SERVING_NAMESPACE} patch configmap config-domain --type merge -p "
            """'{"data":{"example.com":""}}'""",
        )
