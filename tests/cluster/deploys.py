"""Deploys in the tests: apps of tests/cluster/apps.py applied to a simulated cluster."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from eaves.platform import TriggerSpec
from eaves.rollout import RolloutSettings
from knative.client.cluster import Cluster
from knative.deploy.apply import apply_app
from knative.deploy.ownership import ApplyResult, remove_app
from knative.deploy.site_update import SiteDeployment, SiteUpdate, update_site
from knative.inventory import DeploymentRecord, read_inventory
from knative.resources.metadata import APP_LABEL, AppOwner
from knative.resources.rendering import render_app
from knative.settings import ClusterApp, KnativeSettings, SiteSettings
from knative.status.readiness import Rows
from tests.cluster.apps import IMAGE, NAME, at_site, plain_app
from tests.fakes.kubernetes.apiserver import FakeCluster, Reply, Request

HOME, AGENTS = "cams", "eaves-agents"
SITE = SiteSettings(name="barn", namespace=HOME)
OWNER = AppOwner(app=NAME, agents=AGENTS)
HALVES = RolloutSettings(steps=("50",), step_s=60.0, deadline_s=600.0, min_requests=4, max_error_increase=0.3)
OWN_KINDS = (
    *("v1/ServiceAccount", "networking.k8s.io/v1/NetworkPolicy", "eventing.knative.dev/v1beta3/EventType"),
    *("eventing.knative.dev/v1/Trigger", "serving.knative.dev/v1/Service"),
    *("apps/v1/DaemonSet", "apps/v1/StatefulSet", "sources.knative.dev/v1/SinkBinding"),
    *("sinks.knative.dev/v1alpha1/JobSink", "v1/Service"),
)


def render(
    app: ClusterApp, settings: KnativeSettings | None = None, site: SiteSettings = SITE
) -> tuple[dict[str, Any], ...]:
    """An app's objects."""
    return render_app(at_site(app, settings or KnativeSettings(), site))


def deploy(
    cluster: Cluster,
    app: ClusterApp,
    settings: KnativeSettings | None = None,
    *,
    owner: AppOwner = OWNER,
    adopt: bool = False,
    check: Callable[[Any], object] = lambda manifest: None,
) -> list[ApplyResult]:
    """Apply an app; what became of each object."""
    manifests = render(app, settings, SiteSettings(name=app.function.site, namespace=cluster.namespace))
    return apply_app(cluster, manifests, owner, adopt=adopt, check=check)


class Killed(BaseException):
    """The process ends here."""


def kill_after(count: int) -> Callable[[object], None]:
    """A check that ends the process before it applies one more object than so many."""
    seen: list[object] = []

    def check(manifest: object) -> None:
        seen.append(manifest)
        if len(seen) > count:
            raise Killed

    return check


def outcomes(done: list[ApplyResult]) -> dict[str, set[str]]:
    """Outcome to the objects it happened to, `Trigger/flowers`."""
    found: dict[str, set[str]] = {}
    for one in done:
        found.setdefault(one.outcome, set()).add(f"{one.kind}/{one.name}")
    return found


def names(manifests: Iterable[dict[str, Any]]) -> set[str]:
    """Objects as `outcomes` names them, `Trigger/flowers`."""
    return {f"{one['kind']}/{one['metadata']['name']}" for one in manifests}


def remove(cluster: Cluster, owner: AppOwner = OWNER, *, adopt: bool = False) -> set[str]:
    """Remove an app; the objects that are gone or left, `Trigger/flowers`."""
    return {f"{one.kind}/{one.name}" for one in remove_app(cluster, owner, adopt=adopt)}


def objects(server: FakeCluster) -> dict[str, dict[str, Any]]:
    """Every object of the kinds that apps don't share, by `NAMESPACE/KIND/NAME`, as somebody wants it to be."""
    found = {}
    for kind in OWN_KINDS:
        for one in server.all(kind):
            metadata = one["metadata"]
            if kind == "v1/Service" and APP_LABEL not in metadata.get("labels", {}):
                continue  # Knative's for its own, and the gateway's
            place = f"{metadata['namespace']}/{one['kind']}/{metadata['name']}"
            found[place] = {"labels": metadata.get("labels"), "spec": one.get("spec")}
    return found


@dataclass
class Meanwhile:
    """Does something once, in the middle of somebody else's request, before it is answered.

    Attributes:
        path: In the path of the request.
        method: HTTP method of the request.
        action: What is done.
        after: How many such requests are let through first.
    """

    path: str
    method: str
    action: Callable[[], object]
    after: int = 0
    done: bool = field(default=False, init=False)

    def __call__(self, request: Request) -> Reply | None:
        if not self.done and request.method == self.method and self.path in request.path:
            if self.after:
                self.after -= 1
                return None
            self.done = True
            self.action()
        return None


def update(
    cluster: Cluster,
    image: str = IMAGE,
    *,
    ready_s: float = 10,
    extra: str = "",
    classes: str = "",
    env: dict[str, str] | None = None,
    site: SiteSettings = SITE,
    knative: KnativeSettings = KnativeSettings(),  # noqa: B008 - it is frozen
    show: Callable[[Rows], object] = lambda rows: None,
    tell: Callable[[str], object] = lambda text: None,
    **how: Any,
) -> SiteUpdate:
    """What `eaves deploy` does at one site, perhaps with one more trigger; `how` is for `SiteDeployment`."""
    app = replace(plain_app(image=image, env=env or {}), classes=classes)
    if extra:
        trigger = TriggerSpec(name=extra, filter={"type": "x"}, url="http://alarm.cams.svc.cluster.local/")
        app = replace(app, triggers=(*app.triggers, trigger))
    values = {"by": "jane@laptop", "rollout": HALVES, "ready_s": ready_s, **how}
    wanted = SiteDeployment(app=at_site(app, knative, site), **values)
    return update_site(cluster, wanted, show=show, notify=tell, poll_s=0.01)


def last(cluster: Cluster) -> DeploymentRecord:
    """The newest deployment by the cluster's record."""
    deployment = read_inventory(cluster, NAME).deployment
    assert deployment is not None
    return deployment
