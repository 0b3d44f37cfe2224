"""Implementation of `eaves.platform.Platform` on Knative, for one site."""

from __future__ import annotations

from eaves import events
from eaves.delivery import SinkResponse, read_reply
from eaves.errors import ClusterError, ConflictError, NotFoundError, PlatformError
from eaves.events import Event
from eaves.http_client.client import HttpAnswer
from eaves.platform import FunctionStatus
from knative import rollout
from knative.client.cluster import Cluster
from knative.client.kinds import BROKER, KSERVICE, POD, Manifest, ObjectKind
from knative.deploy.ownership import find_removable, order_removal, prune_pins, remove_app
from knative.deploy.site_update import SOMEBODY, SiteDeployment, update_site
from knative.inventory import note_removal, read_deployment
from knative.resources.function import CONTAINER
from knative.resources.metadata import AppOwner
from knative.settings import ClusterApp, KnativeSettings, SiteSettings
from knative.status.conditions import absent_function, name_of
from knative.status.readiness import wait_ready, wait_routed
from knative.status.site_status import read_agent_logs, read_logs, read_status

READY_TIMEOUT_S = 600.0


class KnativePlatform:
    """Implementation of `eaves.platform.Platform` on one namespace of a cluster.

    Args:
        cluster: Open connection to the site's cluster.
        settings: Settings of the cluster's objects, the section `knative` of eaves.yaml.
        site: The site.
        by: User who gives the commands, `USER@HOST`; it is recorded with each deploy.
        ready_timeout_s: Maximum seconds that `promote` waits until a revision is ready.
    """

    def __init__(
        self,
        cluster: Cluster,
        settings: KnativeSettings,
        site: SiteSettings,
        *,
        by: str = SOMEBODY,
        ready_timeout_s: float = READY_TIMEOUT_S,
    ) -> None:
        self.cluster = cluster
        self._settings = settings
        self._site = site
        self._by = by
        self._ready_timeout_s = ready_timeout_s

    def deploy(self, app: ClusterApp) -> None:
        """Apply every object of an app; the present traffic stays until `promote` or a rollout changes it.

        Raises:
            ConfigError: When eaves.yaml lacks a setting that a cluster needs.
            ConflictError: When another manager owns a field that would change, or another user deploys at the same
                time.
        """
        update_site(self.cluster, SiteDeployment(app=app, by=self._by))

    def promote(self, name: str, *, unpinned: bool = False) -> None:
        """Wait until the newest revision is ready and pinned on its nodes, then route all requests to it.

        Args:
            name: Name of the function.
            unpinned: Don't wait until every node has pulled the function's container image.

        Raises:
            NotFoundError: When there is no such function.
            StartError: When the revision doesn't become ready, or isn't on every node in time; then nothing changes.
            ConflictError: When another user deployed during the wait; then nothing changes.
        """
        self._require(KSERVICE, name)
        newest = read_deployment(self.cluster, name)
        wait_ready(self.cluster, name, timeout_s=self._ready_timeout_s)
        if newest is not None and (last := read_deployment(self.cluster, name)) != newest:
            who = "another user removed it" if last is None else last.describe()
            raise ConflictError(
                f"{self.cluster.name}: {who}, while the promotion of {name} was waiting; nothing was promoted",
                hint=f"eaves promote {name} --site {self._site.name}   # to promote the newest deployment",
            )
        rollout.promote(self.cluster, name, unpinned=unpinned, pin_wait_s=self._ready_timeout_s)
        wait_routed(self.cluster, name)
        prune_pins(self.cluster, name)

    def rollback(self, name: str) -> None:
        """Route all requests to the previous revision, at once.

        Raises:
            NotFoundError: When there is no such function, or it has no previous revision.
        """
        rollout.rollback(self.cluster, name)
        wait_routed(self.cluster, name)

    def remove(self, name: str, *, adopt: bool = False) -> None:
        """Delete every object of an app. Volumes that hold undelivered images stay.

        Args:
            name: Name of the function.
            adopt: Delete also objects that `eaves render` rendered and another tool applied.

        Raises:
            ConflictError: When `deploy` applied none of the objects, and `adopt` is false.
            NotFoundError: When there is no such function.
        """
        note_removal(self.cluster, name, self._by)
        remove_app(self.cluster, self._owner(name), adopt=adopt)

    def find_removable(self, name: str, *, adopt: bool = False) -> list[str]:
        """List the objects that `remove` would delete, each as `KIND NAMESPACE/NAME`.

        Raises:
            ConflictError: When `deploy` applied none of the objects, and `adopt` is false.
        """
        found = find_removable(self.cluster, self._owner(name), adopt=adopt)
        return [f"{key.kind} {key.namespace}/{key.name}" for key in order_removal(found)]

    def status(self, *, usage: bool = False) -> list[FunctionStatus]:
        """Read the status of every function of the site, sorted by name; with `usage` its replicas are asked, too."""
        return read_status(self.cluster, self._owner(""), usage=usage)

    def invoke(self, name: str, event: Event, *, timeout_s: float = 120.0) -> SinkResponse:
        """Send one event to a function, through the API server and the gateway; return the function's answer.

        Raises:
            NotFoundError: When there is no such function.
            PlatformError: When the function has no address yet.
        """
        return read_reply(self._send(KSERVICE, name, event, reply=True, timeout_s=timeout_s))

    def publish(self, event: Event) -> None:
        """Send one event to the Broker.

        Raises:
            NotFoundError: When there is no Broker.
            PlatformError: When the Broker refuses the event.
        """
        answer = self._send(BROKER, self._settings.broker, event, reply=False, timeout_s=60.0)
        if answer.status >= 300:
            text = answer.body[:200].decode(errors="replace")
            raise PlatformError(f"the broker {self._settings.broker} answered {answer.status}: {text}")

    def logs(self, name: str, *, lines: int = 100) -> list[str]:
        """Read the last log lines of a function's replicas, replica by replica; a replica without lines is left out.

        Args:
            name: A function, or its agents: `FUNCTION.SOURCE`, `FUNCTION.relay` or `FUNCTION.TRIGGER-mqtt` for the pods
                of one agent, `FUNCTION.agent` for the pods of all agents of the function.
            lines: Maximum number of lines; the newest are kept.

        Raises:
            NotFoundError: When no replica runs; a cluster keeps a pod's log only as long as the pod.
        """
        if "." in name:
            return read_agent_logs(self.cluster, self._owner(name.partition(".")[0]), name, lines=lines)
        self._require(KSERVICE, name)
        pods = self.cluster.list(POD, selector=f"serving.knative.dev/service={name}")
        pods.sort(key=lambda pod: str(pod["metadata"].get("creationTimestamp")))
        if not pods:
            raise NotFoundError(
                f"{name} has no log lines to show: it is scaled to zero",
                hint="eaves status --on knative; the log lines of deleted replicas are in the cluster's log "
                "store, if it has one",
            )
        return read_logs(
            self.cluster, name, [(name_of(pod), CONTAINER, self.cluster.namespace) for pod in pods], lines=lines
        )

    def find_address(self, name: str, kind: ObjectKind = KSERVICE) -> str:
        """Return the URL of a function, or of an object of another kind, inside the cluster.

        Raises:
            NotFoundError: When there is no such object.
            ClusterError: When it has no address yet.
        """
        url = self._require(kind, name).get("status", {}).get("address", {}).get("url")
        if not url:
            raise ClusterError(
                f"{kind.kind} {name} has no address yet",
                hint=f"eaves status --on knative, or kubectl get {kind.plural}",
            )
        return str(url)

    def _owner(self, name: str) -> AppOwner:
        return AppOwner(app=name, agents=self._settings.agent_namespace)

    def _send(self, kind: ObjectKind, name: str, event: Event, *, reply: bool, timeout_s: float) -> HttpAnswer:
        headers, body = events.encode_binary(event)
        headers |= {"Prefer": "reply"} if reply else {}
        return self.cluster.send(self.find_address(name, kind), headers=headers, body=body, timeout_s=timeout_s)

    def _require(self, kind: ObjectKind, name: str) -> Manifest:
        found = self.cluster.get(kind, name)
        if found is None and kind is KSERVICE:
            raise absent_function(self.cluster, name)
        if found is None:
            message = f"the {kind.kind} {name!r} does not exist in {self.cluster.namespace} of {self.cluster.name}"
            raise NotFoundError(message, hint="eaves status --on knative")
        return found
