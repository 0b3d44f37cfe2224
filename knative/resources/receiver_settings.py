"""Settings of a receiver on a cluster, which `eaves receiver render` takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from eaves.base.names import NAME_PATTERN
from eaves.config import setting
from eaves.platform.quantities import QUANTITY_PATTERN
from knative.specs import find_object_fault


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverDeployment:
    """Settings of a receiver in a namespace of a cluster."""

    name: str = setting(
        "receiver", "Name of the receiver's objects; sites reach the receiver at https://NAME.NAMESPACE.svc."
    )
    namespace: str = setting(
        "", "Namespace of the receiver; empty: the objects name no namespace, and kubectl's `-n` decides."
    )
    image: str = setting("", "The agents' container image by digest (Dockerfile, target `agent`).")
    pull_secret: str = setting(
        "", "Secret with which nodes pull the container image; empty: the registry needs no login."
    )
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
    spool_size: str = setting(
        "5Gi", "Size of the volume for received events that were not passed on yet, and for the ids of received events."
    )
    service_type: str = setting(
        "ClusterIP",
        "Type of the receiver's Service: `ClusterIP`, reached from within the cluster or by a gateway that "
        "passes TLS through; `NodePort` or `LoadBalancer`, reached from outside.",
        choices=("ClusterIP", "NodePort", "LoadBalancer"),
    )

    def addresses(self) -> dict[str, str]:
        """Return the address of each function, by the function's name."""
        return {name: url for name, _, url in (one.partition("=") for one in self.functions)}

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield violations of rules that concern several fields, as (field, message)."""
        for path, value in (("name", self.name), ("namespace", self.namespace or "x")):
            if not NAME_PATTERN.fullmatch(value):
                yield path, f"must be 1-40 characters a-z, 0-9 and '-', starting with a letter (got {value!r})"
        if "@sha256:" not in self.image:
            yield "image", f"must name the agents' container image by digest (got {self.image!r})"
        yield from self._object_faults()
        yield from self._destination_faults()

    def _object_faults(self) -> Iterator[tuple[str, str]]:
        for path in ("pull_secret", "tls_secret", "client_ca_secret", "sites_secret", "broker"):
            if fault := find_object_fault(getattr(self, path)):
                yield path, fault
        for path in ("tls_secret", "sites_secret"):
            if not getattr(self, path):
                yield path, "must name a Secret"
        for path in ("spool_size", "folder_size"):
            value = getattr(self, path)
            if not QUANTITY_PATTERN.fullmatch(value) and (value or path == "spool_size"):
                yield path, f"must be a quantity such as 5Gi (got {value!r})"

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
