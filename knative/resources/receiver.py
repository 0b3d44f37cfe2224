"""Builders of a receiver on a cluster: a StatefulSet with a queue on a volume, behind a Service that passes TLS on.

A receiver belongs to no app: many sites send to it, and it runs in the cloud, where there may be no function.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from eaves.base.names import NAME_PATTERN
from eaves.config import setting
from eaves.credentials.folder import AUTHORITIES, CERTIFICATE, KEY
from eaves.link.protocol import HEALTH
from eaves.link.settings import ReceiverSettings
from eaves.platform.quantities import QUANTITY_PATTERN, find_room
from knative.client.kinds import BROKER, SERVICE_ACCOUNT, STATEFUL_SET
from knative.resources.metadata import reference
from knative.resources.pod import CREDENTIALS_FOLDER, OWNER_READS, load_fragment
from knative.resources.server import (
    LIVENESS_PROBE,
    METRICS_PORT,
    ServerDeployment,
    build_queue_values,
    build_server_pod,
    metrics_peers,
    mount_files,
    mount_spool,
)

PART = "receiver"
EVENTS_PORT = 8443
SITES, RECEIVED = "/sites", "/received"
MEMORY = "1Gi"
"""Memory limit of a receiver's pod, for requests of 64 MB in total that are read, unpacked and stored at the same
time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverDeployment(ServerDeployment):
    """Settings of a receiver in a namespace of a cluster."""

    name: str = setting(
        "receiver", "Name of the receiver's objects; sites reach the receiver at https://NAME.NAMESPACE.svc."
    )
    image: str = setting("", "The agents' container image by digest (Dockerfile, target `agent`).")
    tls_secret: str = setting(
        "receiver-tls",
        "Secret with the server's certificate, `tls.crt` and `tls.key`, as cert-manager creates it. A renewed "
        "certificate is used from the next connection on.",
    )
    client_ca_secret: str = setting(
        "",
        "Secret whose `ca.crt` holds the authorities that sign sites' certificates; empty: sites have tokens. "
        "The `ca.crt` of `tls_secret` is never used for this.",
    )
    sites_secret: str = setting(
        "receiver-sites",
        "Secret with one key for each site, named like the site; each line of its value is a token of the site. "
        "An empty value means that the site has a certificate.",
    )
    broker: str = setting("", "Broker of the namespace that received events are sent to.")
    sink: str = setting("", "The http(s) address that received events are sent to, instead of a Broker.")
    folder_size: str = setting(
        "", "Size of a volume where received events are written to files, instead of a Broker or an address."
    )
    functions: tuple[str, ...] = setting(
        (), "Functions that sites with `through: cloud` may send images to, each as NAME=ADDRESS, separated by commas."
    )
    function_timeout_s: float = setting(
        120.0,
        "Maximum seconds that a function may take for an answer, its cold start included.",
        minimum=1,
        maximum=600,
    )
    metrics_namespaces: tuple[str, ...] = setting(
        (), "Other namespaces whose pods may read the receiver's metrics, separated by commas."
    )
    spool_size: str = setting(
        "5Gi", "Size of the volume for received events that were not passed on yet, and for the ids of received events."
    )

    def addresses(self) -> dict[str, str]:
        """Return the address of each function, by the function's name."""
        return {name: url for name, _, url in (one.partition("=") for one in self.functions)}

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield violations of rules that concern several fields, as (field, message)."""
        yield from ServerDeployment.faults(self)
        yield from self.secret_faults(needed=("tls_secret", "sites_secret"), optional=("client_ca_secret", "broker"))
        for path in ("spool_size", "folder_size"):
            value = getattr(self, path)
            if not QUANTITY_PATTERN.fullmatch(value) and (value or path == "spool_size"):
                yield path, f"must be a quantity such as 5Gi (got {value!r})"
        yield from self._destination_faults()

    def _destination_faults(self) -> Iterator[tuple[str, str]]:
        given = [name for name in ("broker", "sink", "folder_size") if getattr(self, name)]
        if len(given) != 1:
            got = f"{' and '.join(given)} are set" if given else "none is set"
            yield "broker", f"exactly one of broker, sink and folder_size must be set ({got})"
        if self.sink and not self.sink.startswith(("http://", "https://")):
            yield "sink", f"must start with http:// or https:// (got {self.sink!r})"
        for name, url in self.addresses().items():
            if not NAME_PATTERN.fullmatch(name) or not url.startswith(("http://", "https://")):
                yield "functions", f"must be NAME=ADDRESS, such as flowers=http://flowers.cloud.svc (got {name}={url})"


def build_receiver(wanted: ReceiverDeployment) -> Iterator[dict[str, Any]]:
    """Build every object of a receiver in the order of applying, except the Secrets that it needs.

    Its NetworkPolicy admits sites from any address, since the receiver checks their token or certificate.
    """
    receiver = wanted.build_workload(PART)
    yield receiver.build(SERVICE_ACCOUNT, automountServiceAccountToken=False)
    yield receiver.build_policy((EVENTS_PORT, ()), (METRICS_PORT, metrics_peers(wanted.metrics_namespaces)))
    yield receiver.build_service(("https", 443, "events"), service_type=wanted.service_type)
    if wanted.broker:
        yield receiver.build_sink_binding(STATEFUL_SET, reference(BROKER, wanted.broker, wanted.namespace))
    received = {"received": wanted.folder_size} if wanted.folder_size else {}
    yield receiver.build_stateful_set(_pod(wanted), {"spool": wanted.spool_size, **received})


def _pod(wanted: ReceiverDeployment) -> dict[str, Any]:
    values = {
        "credentials": CREDENTIALS_FOLDER,
        "sites": SITES,
        **build_queue_values("receiver", EVENTS_PORT),
        **find_room(wanted.spool_size),
    }
    if wanted.functions:
        values["functions"] = json.dumps(wanted.addresses())
        values["function_timeout_s"] = f"{wanted.function_timeout_s:g}"
    if wanted.sink:
        values["sink"] = wanted.sink
    sites = {"name": "sites", "secret": {"secretName": wanted.sites_secret, "defaultMode": OWNER_READS}}
    folders = [
        mount_spool(),
        mount_files({wanted.tls_secret: (CERTIFICATE, KEY), wanted.client_ca_secret: (AUTHORITIES,)}),
        (sites, {"name": "sites", "mountPath": SITES, "readOnly": True}),
    ]
    if wanted.folder_size:
        values["folder"] = RECEIVED
        folders.append((None, {"name": "received", "mountPath": RECEIVED}))
    health = {"path": HEALTH, "port": "events", "scheme": "HTTPS"}
    return build_server_pod(
        "eaves.link.receiver",
        wanted.image,
        ReceiverSettings,
        values,
        ports={"events": EVENTS_PORT, "metrics": METRICS_PORT},
        probes={"readinessProbe": {"httpGet": health, "periodSeconds": 10}, "livenessProbe": LIVENESS_PROBE},
        memory=MEMORY,
        requests={"cpu": "50m", "memory": "128Mi"},
        fragment=load_fragment(wanted.pod),
        folders=folders,
        serviceAccountName=wanted.name,
    )
