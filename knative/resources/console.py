"""Builders of a console at a site: a Deployment behind a Service, with the rights to read the site and nothing else.

A console belongs to no app: it shows all apps of its namespace.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eaves.base.names import NAME_PATTERN
from eaves.config import setting
from eaves.credentials import CERTIFICATE, KEY
from knative.client.kinds import DEPLOYMENT, ROLE, ROLE_BINDING, SERVICE, SERVICE_ACCOUNT, TRIGGER
from knative.resources.metadata import EVENTING_NAMESPACE, build_namespace_peer, reference
from knative.resources.pod import CREDENTIALS_FOLDER, LISTEN_ALL, load_fragment
from knative.resources.server import ServerDeployment, build_server_pod, mount_files

PART = "console"
PAGES_PORT, EVENTS_PORT = 8443, 8080
DATA, DATA_SIZE = "/data", "256Mi"
"""Folder and maximum size of the history and the thumbnails, which are lost when the pod moves."""
PASSWORD = "password"  # noqa: S105 - the name of a file
MEMORY = "256Mi"
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
        "console", "Name of the console's objects; browsers reach the console at https://NAME.NAMESPACE.svc."
    )
    site: str = setting("", "Name of the site, which the pages show; empty: the name of the namespace.")
    image: str = setting("", "The console's container image by digest (Dockerfile, target `console`).")
    tls_secret: str = setting(
        "console-tls", "Secret with the server's certificate, `tls.crt` and `tls.key`, as cert-manager creates it."
    )
    password_secret: str = setting("console-password", "Secret whose key `password` holds the password of the pages.")
    broker: str = setting(
        "eaves",
        "Broker whose events the console shows, `knative.broker` of the namespace's apps; empty: it shows no events.",
    )
    writable: bool = setting(
        False, "Let people promote and roll back revisions on the pages. Without it the console can only read."
    )
    silent_after_s: float = setting(
        600.0,
        "Seconds without an image after which the pages call a source silent whose images came regularly; five times "
        "its usual interval when that is longer. 0: they call none silent.",
        minimum=0,
    )

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield violations of rules that concern several fields, as (field, message)."""
        yield from ServerDeployment.faults(self)
        if self.site and not NAME_PATTERN.fullmatch(self.site):
            yield "site", f"must be 1-40 characters a-z, 0-9 and '-', starting with a letter (got {self.site!r})"
        yield from self.secret_faults(needed=("tls_secret", "password_secret"), optional=("broker",))


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
        600.0, "Seconds without an image after which a source is called silent; 0: never.", minimum=0
    )


def build_console(wanted: ConsoleDeployment) -> Iterator[dict[str, Any]]:
    """Build every object of a console in the order of applying, except the Secrets that it needs.

    Its NetworkPolicy admits browsers, which must log in, and events of Eventing's dispatchers.
    """
    console = wanted.build_workload(PART)
    yield console.build(SERVICE_ACCOUNT)
    rights = (*_READ, *(_ROLL_OUT if wanted.writable else ()))
    rules = [{"apiGroups": [group], "resources": resources, "verbs": verbs} for group, resources, verbs in rights]
    yield console.build(ROLE, rules=rules)
    account = {"kind": SERVICE_ACCOUNT.kind, "name": wanted.name}
    where = {"namespace": wanted.namespace} if wanted.namespace else {}
    role = {"apiGroup": ROLE.group, "kind": ROLE.kind, "name": wanted.name}
    yield console.build(ROLE_BINDING, subjects=[{**account, **where}], roleRef=role)
    yield console.build_policy((PAGES_PORT, ()), (EVENTS_PORT, [build_namespace_peer(EVENTING_NAMESPACE)]))
    ports = (("https", 443, "pages"), ("http", 80, "events"))
    yield console.build_service(*ports, service_type=wanted.service_type)
    strategy = {"replicas": 1, "strategy": {"type": "Recreate"}}
    selector = {"matchLabels": dict(console.selector)}
    template = console.build_template(_pod(wanted))
    yield console.build(DEPLOYMENT, {**strategy, "selector": selector, "template": template})
    if wanted.broker:
        subscriber = {"ref": reference(SERVICE, wanted.name, wanted.namespace)}
        delivery = {"retry": 0}  # a page may miss an event
        yield console.build(TRIGGER, {"broker": wanted.broker, "subscriber": subscriber, "delivery": delivery})


def _pod(wanted: ConsoleDeployment) -> dict[str, Any]:
    """Build the console's pod. It has a token, to read the site."""
    values = {
        "host": LISTEN_ALL,
        "port": str(PAGES_PORT),
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
        ports={"pages": PAGES_PORT, "events": EVENTS_PORT},
        probes={
            "readinessProbe": {**probe, "periodSeconds": 5},
            "livenessProbe": {**probe, "periodSeconds": 30, "failureThreshold": 4},
        },
        memory=MEMORY,
        requests={"cpu": "20m", "memory": "96Mi"},
        fragment=load_fragment(wanted.pod),
        folders=[
            (data, {"name": "data", "mountPath": DATA}),
            mount_files({wanted.tls_secret: (CERTIFICATE, KEY), wanted.password_secret: (PASSWORD,)}),
        ],
        serviceAccountName=wanted.name,
        automountServiceAccountToken=True,
    )
