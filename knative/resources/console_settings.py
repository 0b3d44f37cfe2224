"""Settings of a console at a site: those of its objects, which `eaves console render` takes, and of its process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from eaves.base.names import NAME_PATTERN
from eaves.config import setting
from eaves.platform.quantities import QUANTITY_PATTERN
from knative.specs import find_object_fault


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleDeployment:
    """Settings of a console in a namespace of a cluster."""

    name: str = setting(
        "console", "Name of the console's objects; browsers reach the console at https://NAME.NAMESPACE.svc."
    )
    namespace: str = setting(
        "", "Namespace of the site; empty: the objects name no namespace, and kubectl's `-n` decides."
    )
    site: str = setting("", "Name of the site, which the pages show; empty: the name of the namespace.")
    image: str = setting("", "The console's container image by digest (Dockerfile, target `console`).")
    pull_secret: str = setting(
        "", "Secret with which nodes pull the container image; empty: the registry needs no login."
    )
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
    data_size: str = setting(
        "256Mi", "Maximum size of the history and the thumbnails, which are lost when the pod moves."
    )
    service_type: str = setting(
        "ClusterIP",
        "Type of the console's Service: `ClusterIP`, reached by `kubectl port-forward` or by a gateway that passes TLS "
        "through; `NodePort` or `LoadBalancer`, reached from outside.",
        choices=("ClusterIP", "NodePort", "LoadBalancer"),
    )

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield violations of rules that concern several fields, as (field, message)."""
        for path in ("name", "namespace", "site"):
            value = getattr(self, path)
            if not NAME_PATTERN.fullmatch(value or "x" * (path != "name")):
                yield path, f"must be 1-40 characters a-z, 0-9 and '-', starting with a letter (got {value!r})"
        if "@sha256:" not in self.image:
            yield "image", f"must name the console's container image by digest (got {self.image!r})"
        for path in ("pull_secret", "tls_secret", "password_secret", "broker"):
            if fault := find_object_fault(getattr(self, path)):
                yield path, fault
        for path in ("tls_secret", "password_secret"):
            if not getattr(self, path):
                yield path, "must name a Secret"
        if not QUANTITY_PATTERN.fullmatch(self.data_size):
            yield "data_size", f"must be a quantity such as 256Mi (got {self.data_size!r})"


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
    agent_namespace: str = setting("", "Namespace of agents on nodes, `knative.agent_namespace`; empty: none.")
    history_max_bytes: int = setting(
        64_000_000, "Maximum size of the history in bytes; the oldest records are deleted.", minimum=1_000_000
    )
    thumbnails_max_bytes: int = setting(
        32_000_000, "Maximum size of all thumbnails in bytes; the oldest are deleted.", minimum=1_000_000
    )
    max_bytes: int = setting(20_000_000, "Maximum size of an event in bytes.", minimum=1)
    log_json: bool = setting(True, "Log in JSON, one object per line.")
