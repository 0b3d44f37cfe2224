"""The Roles of examples/roles are enough for what they are for, and `eaves doctor` knows what that takes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eaves.errors import DeniedError, StorageError
from eaves.platform import DeliverySettings
from eaves.rollout import RolloutSettings
from knative import rollout
from knative.client.cluster import Cluster
from knative.deploy.site_update import (
    SiteDeployment,
    WantedDeployment,
    advance_all,
    reconcile_site,
    update_site,
)
from knative.doctor import examine
from knative.doctor.app_checks import list_needed
from knative.doctor.cluster_checks import ExaminedSite
from knative.inventory import FunctionImage, WorkspaceMemory, read_inventory
from knative.platform import KnativePlatform
from knative.settings import ClusterApp, JobSettings, KnativeSettings
from knative.status.site_status import Kubectl, read_status
from knative.training.job import TrainingJob, build_job
from knative.training.job_follower import create_job, follow_job
from knative.training.run_download import download_run
from tests.cluster.apps import IMAGE, NAME, full_app, full_settings, plain_app
from tests.cluster.deploys import AGENTS, HOME, OWNER, SITE, objects
from tests.cluster.pins import IMAGES, pinned
from tests.cluster.roles import read_roles
from tests.fakes.controllers.installation import install_knative
from tests.fakes.controllers.jobs import JobPlay
from tests.fakes.controllers.knative import Knative
from tests.fakes.kubernetes.apiserver import FakeCluster
from trainer.progress import SilentProgress
from trainer.settings import DataSettings, TrainSettings

pytestmark = pytest.mark.usefixtures("knative")

SETTINGS = RolloutSettings(steps=("50",), step_s=60.0, min_requests=4)
Grant = Callable[[str, str, str, str], bool]


def deploy(cluster: Cluster, image: str = IMAGE, *, ready_s: float = 10.0, app: ClusterApp | None = None) -> None:
    app = replace(app or plain_app(), image=image, site=SITE)
    update_site(cluster, SiteDeployment(app=app, rollout=SETTINGS, by="jane@laptop", ready_s=ready_s))


def app_with_dead_letters() -> ClusterApp:
    """An app whose dead letters go to a sink."""
    app = plain_app()
    delivery = DeliverySettings(dead_letter_sink="http://dead.barn.svc.cluster.local/")
    return replace(app, triggers=(replace(app.triggers[0], delivery=delivery),))


def everything(cluster: Cluster, knative: Knative) -> None:
    """What one who deploys an app does in its life."""
    platform = KnativePlatform(cluster, KnativeSettings(), SITE, by="jane@laptop", ready_timeout_s=10)
    deploy(cluster, app=app_with_dead_letters())
    deploy(cluster)
    deploy(cluster, IMAGES[1])
    rollout.set_percent(cluster, NAME, 10)
    platform.promote(NAME)
    platform.rollback(NAME)
    platform.promote(NAME)
    deploy(cluster, IMAGES[2])
    rollout.advance_rollout(cluster, NAME)
    platform.promote(NAME)
    reconcile(cluster)
    knative.run(str(knative.service()["status"]["latestCreatedRevisionName"]))
    platform.status()
    platform.logs(NAME)
    platform.remove(NAME)


def reconcile(cluster: Cluster) -> None:
    last = read_inventory(cluster, NAME).deployment
    assert last is not None
    image = FunctionImage(name=IMAGE, artifact_digest="a" * 64)
    wish = WantedDeployment(site=SITE.name, image=image, memory=WorkspaceMemory(known=last.mark, pending=image))

    def build(image: FunctionImage) -> SiteDeployment:
        app = replace(plain_app(image=image.name, artifact_digest=image.artifact_digest), site=SITE)
        return SiteDeployment(app=app, rollout=SETTINGS, by="cron@server")

    reconcile_site(cluster, SITE, NAME, wish, build)


def grant(apiserver: FakeCluster, *roles: Grant) -> list[tuple[str, str, str]]:
    """Let the API server grant what these Roles do; what it refuses is added to the list."""
    refused: list[tuple[str, str, str]] = []

    def granted(verb: str, resource: str, namespace: str, name: str) -> bool:
        if any(role(verb, resource, namespace, name) for role in roles):
            return True
        refused.append((verb, resource, namespace))
        return False

    apiserver.granted = granted
    return refused


def examined(cluster: Cluster) -> ExaminedSite:
    return ExaminedSite(cluster=cluster, app=replace(plain_app(), site=SITE), trains_in="")


def at(namespace: str, asked: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    return [one for one in asked if one[2] == namespace]


def test_who_deploys_may_do_all_that_deploying_takes(cluster: Cluster, knative: Knative, apiserver: FakeCluster):
    refused = grant(apiserver, read_roles(HOME)["eaves-deploy"])
    everything(cluster, knative)
    assert at(HOME, refused) == []
    assert objects(apiserver) == {}


def test_who_deploys_agents_on_nodes_takes_the_role_there_too(cluster: Cluster, apiserver: FakeCluster):
    deploy(cluster, app=full_app(), ready_s=0)
    KnativePlatform(cluster, full_settings(), SITE).remove(NAME)  # the namespace of agents stays
    refused = grant(apiserver, read_roles(HOME)["eaves-deploy"], read_roles(AGENTS)["eaves-deploy"])
    deploy(cluster, app=full_app(), ready_s=0)
    deploy(cluster, app=full_app(), ready_s=0)
    read_status(cluster, OWNER)
    KnativePlatform(cluster, full_settings(), SITE).remove(NAME)
    assert (at(HOME, refused), at(AGENTS, refused)) == ([], [])
    assert objects(apiserver) == {}


def test_what_doctor_asks_for_is_all_that_deploying_takes(cluster: Cluster, knative: Knative, apiserver: FakeCluster):
    asked = {(verb, need.resource, need.namespace) for need in list_needed(examined(cluster)) for verb in need.verbs}
    refused = grant(apiserver, lambda verb, resource, namespace, name: (verb, resource, namespace) in asked)
    everything(cluster, knative)
    assert set(at(HOME, refused)) <= {("list", "services", HOME)}, "an app without MQTT or a relay has none"
    assert objects(apiserver) == {}


def test_who_takes_rollouts_on_may_do_all_that_takes(cluster: Cluster, knative: Knative, apiserver: FakeCluster):
    """Also remove the pin that the step leaves without a revision that needs it."""
    deploy(cluster)
    deploy(cluster, IMAGES[1])
    rollout.promote(cluster, NAME)
    apiserver.denied = {("delete", "daemonsets.apps")}
    deploy(cluster, IMAGES[2], ready_s=0)
    apiserver.denied = set()
    assert IMAGE in pinned(apiserver)
    rollout.begin_rollout(cluster, NAME, SETTINGS)
    for number in (2, 3):
        knative.run(f"{NAME}-0000{number}")
    role, used = read_roles(HOME)["eaves-reconcile"], set[tuple[str, str]]()

    def granted(verb: str, resource: str, namespace: str, name: str) -> bool:
        used.add((verb, resource))
        return role(verb, resource, namespace, name)

    refused = grant(apiserver, granted)
    (outcome,) = advance_all(cluster).values()
    assert refused == []
    assert set(role.pairs()) - used == set(), "rights that nothing takes"
    assert isinstance(outcome, rollout.RolloutOutcome)
    assert outcome.changed
    assert pinned(apiserver) == set(IMAGES[1:3])


def test_who_examines_a_site_may_do_all_that_the_doctor_takes(cluster: Cluster, apiserver: FakeCluster):
    install_knative(apiserver)
    roles = read_roles(HOME)
    grant(apiserver, *[role for name, role in roles.items() if name in {"eaves-deploy", "eaves-send-proxy"}])
    app = replace(plain_app(), site=SITE)
    few = examine(cluster, app)
    assert "nodes" in {one.check for one in few if "is not permitted" in one.message}
    grant(apiserver, *[role for name, role in roles.items() if name not in {"eaves-reconcile", "eaves-train"}])
    found = examine(cluster, app)
    assert [one.message for one in found if "permitted" in one.message or one.check == "permissions"] == [
        f"the current user has the permissions to deploy, roll out, send to and remove functions in {HOME}"
    ]


NO_CLUSTER = Kubectl(kubeconfig=Path("/nowhere"), context="nowhere")
TRAINING = TrainingJob(
    name="digits",
    site="home",
    namespace=HOME,
    data=DataSettings(path="s3://photos/digits"),
    train=TrainSettings(arch="small_cnn"),
    job=JobSettings(output_claim="models"),
    knative=KnativeSettings(trainer_image="registry.example/eaves-trainer@sha256:" + "1" * 64),
)


def train(cluster: Cluster, apiserver: FakeCluster, folder: Path, *, again: bool = False) -> None:
    """What one who trains does: a Job that is watched to its end, and its run copied by a pod."""
    manifest = build_job(TRAINING)
    create_job(cluster, manifest, again=again, notify=lambda text: None)
    play = JobPlay(apiserver, manifest["metadata"]["name"], namespace=HOME)
    play.exit(play.start(f"{play.name}-{again}"), 0)
    play.end()
    job = follow_job(cluster, play.name, on_line=lambda line: None, notify=lambda text: None)

    def run(manifest: dict[str, Any]) -> None:
        if manifest["kind"] == "Pod":
            apiserver.status("Pod", manifest["metadata"]["name"], {"phase": "Running"}, namespace=HOME)

    apiserver.on_apply(run)
    silent = SilentProgress()
    with pytest.raises(StorageError, match="the run can't be copied"):  # there is no kubectl for this cluster
        download_run(cluster, TRAINING, job, folder, kubectl=NO_CLUSTER, notify=lambda text: None, progress=silent)


@pytest.mark.long("commands run against many simulated sites")
def test_who_trains_may_do_all_that_training_takes(cluster: Cluster, apiserver: FakeCluster, tmp_path: Path):
    refused = grant(apiserver, read_roles(HOME)["eaves-train"])
    train(cluster, apiserver, tmp_path / "run")
    train(cluster, apiserver, tmp_path / "run", again=True)
    assert refused == []
    assert [one for one in apiserver.all("Pod", namespace=HOME) if "-read-" in one["metadata"]["name"]] == []
    assert apiserver.all("Secret", namespace=HOME) == []


def test_who_looks_at_queues_sees_all_that_status_shows(cluster: Cluster, apiserver: FakeCluster):
    deploy(cluster, app=full_app(), ready_s=0)
    refused = grant(apiserver, read_roles(HOME)["eaves-queues"], read_roles(AGENTS)["eaves-queues"])
    (status,) = read_status(cluster, OWNER)
    assert (at(HOME, refused), at(AGENTS, refused)) == ([], [])
    assert status.deployed is not None
    assert [part.name for part in status.parts if part.state == "unknown"] == []
    with pytest.raises(DeniedError):
        deploy(cluster, app=full_app(), ready_s=0)
