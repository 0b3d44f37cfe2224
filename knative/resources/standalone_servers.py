"""Builders of servers that belong to no app, with their settings: a receiver in the cloud, a console at a site.

Many sites send to a receiver, and it runs where there may be no function: a StatefulSet with a queue on a volume,
behind a Service that passes TLS on. A console shows all apps of its namespace: a Deployment behind a Service, with the
rights to read the site and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from eaves.base.names import ADDRESS_OR_NONE, NAME, NAME_OR_NONE, NAME_PATTERN, OBJECT_OR_NONE
from eaves.config import setting
from eaves.credentials import AUTHORITIES, CERTIFICATE, KEY
from eaves.link.protocol import HEALTH
from eaves.link.settings import ReceiverSettings
from eaves.platform.quantities import QUANTITY, QUANTITY_OR_NONE, find_room
from knative.client.kinds import (
    BROKER,
    DEPLOYMENT,
    ROLE,
    ROLE_BINDING,
    SERVICE,
    SERVICE_ACCOUNT,
    STATEFUL_SET,
    TRIGGER,
    Manifest,
)
from knative.resources.metadata import (
    EVENTING_NAMESPACE,
    INSTANCE_LABEL,
    MANAGED_LABEL,
    MANAGED_VALUE,
    NAME_LABEL,
    PART_LABEL,
    PRODUCT,
    build_namespace_peer,
    reference,
)
from knative.resources.pod import CREDENTIALS_FOLDER, LISTEN_ALL, OWNER_READS, find_fragment_faults, load_fragment
from knative.resources.workload import (
    LIVENESS_PROBE,
    METRICS_PORT,
    Workload,
    build_queue_values,
    build_server_pod,
    metrics_peers,
    mount_files,
    mount_spool,
)
from knative.settings import Faults

RECEIVER_PART, CONSOLE_PART = "receiver", "console"
"""Values of PART_LABEL, and names of the containers."""
TLS_PORT, EVENTS_PORT = 8443, 8080
SITES, RECEIVED = "/sites", "/received"
RECEIVER_MEMORY = "1Gi"
"""Memory limit of a receiver's pod, for requests of 64 MB in total that are read, unpacked and stored at the same
time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StandaloneDeployment:
    """Settings of what belongs to no app, in a namespace of a cluster."""

    name: str = setting("server", "Name of the objects.", form=NAME)
    namespace: str = setting(
        "",
        "Namespace of the objects; empty: the objects name no namespace, and kubectl's `-n` decides.",
        form=NAME_OR_NONE,
    )
    image: str = setting("", "The container image by digest.")
    pod: str = setting(
        "",
        "Fields of the pod that Kubernetes knows, as YAML text, such as '{imagePullSecrets: [{name: registry}]}'; see "
        "`knative.pod`.",
    )

    def build_workload(self, part: str) -> Workload:
        """Build the workload, of which PART_LABEL has the value `part`."""
        selector = {PART_LABEL: part, INSTANCE_LABEL: self.name}
        made = {MANAGED_LABEL: MANAGED_VALUE, NAME_LABEL: PRODUCT, **selector}
        return Workload(name=self.name, namespace=self.namespace, labels=made, selector=selector)

    def faults(self) -> Faults:
        """Yield violations of rules that concern several fields, as (field, message)."""
        yield from self.image_faults("image")
        try:
            fragment = load_fragment(self.pod)
        except ValueError as error:
            yield "pod", str(error)
        else:
            yield from ((f"pod.{path}", message) for path, message in find_fragment_faults(fragment))

    def image_faults(self, *images: str) -> Faults:
        """Yield a fault for each setting that must name a container image by digest and doesn't."""
        for path in images:
            if "@sha256:" not in getattr(self, path):
                yield path, f"must name the container image by digest (got {getattr(self, path)!r})"

    def secret_faults(self, *needed: str) -> Faults:
        """Yield a fault for each setting that must name a Secret and doesn't."""
        yield from ((path, "must name a Secret") for path in needed if not getattr(self, path))


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerDeployment(StandaloneDeployment):
    """Settings of a server that belongs to no app, in a namespace of a cluster."""

    service_type: str = setting(
        "ClusterIP",
        "Type of the Service: `ClusterIP`, reached from within the cluster, by `kubectl port-forward` or by a gateway "
        "that passes TLS through; `NodePort` or `LoadBalancer`, reached from outside.",
        choices=("ClusterIP", "NodePort", "LoadBalancer"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverDeployment(ServerDeployment):
    """Settings of a receiver in a namespace of a cluster."""

    name: str = setting(
        "receiver", "Name of the receiver's objects; sites reach the receiver at https://NAME.NAMESPACE.svc.", form=NAME
    )
    image: str = setting("", "The agents' container image by digest (Dockerfile, target `agent`).")
    tls_secret: str = setting(
        "receiver-tls",
        "Secret with the server's certificate, `tls.crt` and `tls.key`, as cert-manager creates it. A renewed "
        "certificate is used from the next connection on.",
        form=OBJECT_OR_NONE,
    )
    client_ca_secret: str = setting(
        "",
        "Secret whose `ca.crt` holds the authorities that sign sites' certificates; empty: sites have tokens. "
        "The `ca.crt` of `tls_secret` is never used for this.",
        form=OBJECT_OR_NONE,
    )
    sites_secret: str = setting(
        "receiver-sites",
        "Secret with one key for each site, named like the site; each line of its value is a token of the site. "
        "An empty value means that the site has a certificate.",
        form=OBJECT_OR_NONE,
    )
    broker: str = setting("", "Broker of the namespace that received events are sent to.", form=OBJECT_OR_NONE)
    sink: str = setting(
        "", "The http(s) address that received events are sent to, instead of a Broker.", form=ADDRESS_OR_NONE
    )
    folder_size: str = setting(
        "",
        "Size of a volume where received events are written to files, instead of a Broker or an address; its folder "
        "`dataset` gets the images that are chosen for labelling.",
        form=QUANTITY_OR_NONE,
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
        "5Gi",
        "Size of the volume for received events that were not passed on yet, and for the ids of received events.",
        form=QUANTITY,
    )

    def addresses(self) -> dict[str, str]:
        """Return the address of each function, by the function's name."""
        return {name: url for name, _, url in (one.partition("=") for one in self.functions)}

    def faults(self) -> Faults:
        """Yield violations of rules that concern several fields, as (field, message)."""
        yield from ServerDeployment.faults(self)
        yield from self.secret_faults("tls_secret", "sites_secret")
        yield from self._destination_faults()

    def _destination_faults(self) -> Faults:
        given = [name for name in ("broker", "sink", "folder_size") if getattr(self, name)]
        if len(given) != 1:
            got = f"{' and '.join(given)} are set" if given else "none is set"
            yield "broker", f"exactly one of broker, sink and folder_size must be set ({got})"
        for name, url in self.addresses().items():
            if not NAME_PATTERN.fullmatch(name) or not url.startswith(("http://", "https://")):
                yield "functions", f"must be NAME=ADDRESS, such as flowers=http://flowers.cloud.svc (got {name}={url})"


def build_receiver(wanted: ReceiverDeployment) -> Iterator[Manifest]:
    """Build every object of a receiver in the order of applying, except the Secrets that it needs.

    Its NetworkPolicy admits sites from any address, since the receiver checks their token or certificate.
    """
    receiver = wanted.build_workload(RECEIVER_PART)
    yield receiver.build(SERVICE_ACCOUNT, automountServiceAccountToken=False)
    yield receiver.build_policy((TLS_PORT, ()), (METRICS_PORT, metrics_peers(wanted.metrics_namespaces)))
    yield receiver.build_service(("https", 443, "events"), service_type=wanted.service_type)
    if wanted.broker:
        yield receiver.build_sink_binding(STATEFUL_SET, reference(BROKER, wanted.broker, wanted.namespace))
    received = {"received": wanted.folder_size} if wanted.folder_size else {}
    yield receiver.build_stateful_set(_build_receiver_pod(wanted), {"spool": wanted.spool_size, **received})


def _build_receiver_pod(wanted: ReceiverDeployment) -> Manifest:
    values = {
        "credentials": CREDENTIALS_FOLDER,
        "sites": SITES,
        **build_queue_values("receiver", TLS_PORT),
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
        values |= {"folder": RECEIVED, "dataset": f"{RECEIVED}/dataset"}
        folders.append((None, {"name": "received", "mountPath": RECEIVED}))
    health = {"path": HEALTH, "port": "events", "scheme": "HTTPS"}
    return build_server_pod(
        "eaves.link.receiver",
        wanted.image,
        ReceiverSettings,
        values,
        ports={"events": TLS_PORT, "metrics": METRICS_PORT},
        probes={"readinessProbe": {"httpGet": health, "periodSeconds": 10}, "livenessProbe": LIVENESS_PROBE},
        memory=RECEIVER_MEMORY,
        requests={"cpu": "50m", "memory": "128Mi"},
        fragment=load_fragment(wanted.pod),
        folders=folders,
        serviceAccountName=wanted.name,
    )


DATA, DATA_SIZE = "/data", "256Mi"
"""Folder and maximum size of the history and the thumbnails, which are lost when the pod moves."""
PASSWORD = "password"  # noqa: S105 - the name of a file
CONSOLE_MEMORY = "256Mi"
"""Memory limit of a console's pod: the process, 16 MB of recent images, and one image that is being decoded."""
_READS = ["get", "list"]
_ROLL_OUT = (
    ("serving.knative.dev", ["services"], ["patch"]),
    ("apps", ["daemonsets"], ["delete"]),
    ("", ["configmaps"], ["patch"]),
)
"""Rights to change the shares of requests, as `eaves promote` and `eaves rollback` need them."""
_READ = (
    ("serving.knative.dev", ["services", "revisions"], _READS),
    ("autoscaling.internal.knative.dev", ["podautoscalers"], _READS),
    ("eventing.knative.dev", ["brokers", "triggers", "eventtypes"], _READS),
    ("sources.knative.dev", ["sinkbindings"], _READS),
    ("sinks.knative.dev", ["jobsinks"], _READS),
    ("apps", ["statefulsets", "daemonsets"], _READS),
    ("", ["configmaps", "pods", "pods/log", "events"], _READS),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleDeployment(ServerDeployment):
    """Settings of a console in a namespace of a cluster."""

    name: str = setting(
        "console", "Name of the console's objects; browsers reach the console at https://NAME.NAMESPACE.svc.", form=NAME
    )
    site: str = setting(
        "", "Name of the site, which the pages show; empty: the name of the namespace.", form=NAME_OR_NONE
    )
    image: str = setting("", "The console's container image by digest (Dockerfile, target `console`).")
    tls_secret: str = setting(
        "console-tls",
        "Secret with the server's certificate, `tls.crt` and `tls.key`, as cert-manager creates it.",
        form=OBJECT_OR_NONE,
    )
    password_secret: str = setting(
        "console-password", "Secret whose key `password` holds the password of the pages.", form=OBJECT_OR_NONE
    )
    broker: str = setting(
        "eaves",
        "Broker whose events the console shows, `knative.broker` of the namespace's apps; empty: it shows no events.",
        form=OBJECT_OR_NONE,
    )
    writable: bool = setting(
        False, "Let people promote and roll back revisions on the pages. Without it the console can only read."
    )
    silent_after_s: float = setting(
        0.0,
        "Seconds without an image after which the pages call a source silent. 0: they call only those silent that "
        "report a fault.",
        minimum=0,
    )

    def faults(self) -> Faults:
        """Yield violations of rules that concern several fields, as (field, message)."""
        yield from ServerDeployment.faults(self)
        yield from self.secret_faults("tls_secret", "password_secret")


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteConsoleSettings:
    """Settings that a console's process gets from its Deployment."""

    host: str = setting("127.0.0.1", "Address that both ports listen on; 0.0.0.0 in a pod.")
    port: int = setting(8443, "TCP port of the pages.", minimum=1, maximum=65_535, env="PORT")
    events_port: int = setting(
        0, "TCP port that takes copies of events from Triggers; 0: none is opened.", minimum=0, maximum=65_535
    )
    site: str = setting("", "Name of the site, which the pages show; empty: the namespace.")
    credentials: Path | None = setting(
        None, "Folder with `tls.crt`, `tls.key` and `password`; without it, only this machine can reach the pages."
    )
    data: Path = setting(Path("/data"), "Folder for the history and the thumbnails.")
    read_only: bool = setting(True, "Refuse every change; no page offers one.")
    silent_after_s: float = setting(
        0.0, "Seconds without an image after which a source is called silent; 0: never.", minimum=0
    )


def build_console(wanted: ConsoleDeployment) -> Iterator[Manifest]:
    """Build every object of a console in the order of applying, except the Secrets that it needs.

    Its NetworkPolicy admits browsers, which must log in, and events of Eventing's dispatchers.
    """
    console = wanted.build_workload(CONSOLE_PART)
    yield console.build(SERVICE_ACCOUNT)
    rights = (*_READ, *(_ROLL_OUT if wanted.writable else ()))
    rules = [{"apiGroups": [group], "resources": resources, "verbs": verbs} for group, resources, verbs in rights]
    yield console.build(ROLE, rules=rules)
    account = {"kind": SERVICE_ACCOUNT.kind, "name": wanted.name}
    where = {"namespace": wanted.namespace} if wanted.namespace else {}
    role = {"apiGroup": ROLE.group, "kind": ROLE.kind, "name": wanted.name}
    yield console.build(ROLE_BINDING, subjects=[{**account, **where}], roleRef=role)
    yield console.build_policy((TLS_PORT, ()), (EVENTS_PORT, [build_namespace_peer(EVENTING_NAMESPACE)]))
    ports = (("https", 443, "pages"), ("http", 80, "events"))
    yield console.build_service(*ports, service_type=wanted.service_type)
    strategy = {"replicas": 1, "strategy": {"type": "Recreate"}}
    selector = {"matchLabels": dict(console.selector)}
    template = console.build_template(_build_console_pod(wanted))
    yield console.build(DEPLOYMENT, {**strategy, "selector": selector, "template": template})
    if wanted.broker:
        subscriber = {"ref": reference(SERVICE, wanted.name, wanted.namespace)}
        delivery = {"retry": 0}  # a page may miss an event
        yield console.build(TRIGGER, {"broker": wanted.broker, "subscriber": subscriber, "delivery": delivery})


def _build_console_pod(wanted: ConsoleDeployment) -> Manifest:
    """Build the console's pod. It has a token, to read the site."""
    values = {
        "host": LISTEN_ALL,
        "port": str(TLS_PORT),
        "events_port": str(EVENTS_PORT),
        "site": wanted.site or wanted.namespace,
        "credentials": CREDENTIALS_FOLDER,
        "data": DATA,
        "read_only": "no" if wanted.writable else "yes",
        "silent_after_s": f"{wanted.silent_after_s:g}",
    }
    probe = {"tcpSocket": {"port": "pages"}}
    data = {"name": "data", "emptyDir": {"sizeLimit": DATA_SIZE}}
    return build_server_pod(
        "knative.console",
        wanted.image,
        SiteConsoleSettings,
        {path: value for path, value in values.items() if value},
        ports={"pages": TLS_PORT, "events": EVENTS_PORT},
        probes={
            "readinessProbe": {**probe, "periodSeconds": 5},
            "livenessProbe": {**probe, "periodSeconds": 30, "failureThreshold": 4},
        },
        memory=CONSOLE_MEMORY,
        requests={"cpu": "20m", "memory": "96Mi"},
        fragment=load_fragment(wanted.pod),
        folders=[
            (data, {"name": "data", "mountPath": DATA}),
            mount_files({wanted.tls_secret: (CERTIFICATE, KEY), wanted.password_secret: (PASSWORD,)}),
        ],
        serviceAccountName=wanted.name,
        automountServiceAccountToken=True,
    )
