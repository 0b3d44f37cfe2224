"""One site and two workspaces that deploy to it: a server whose cron reconciles, and a laptop."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from eaves.errors import PlatformError
from knative.client.cluster import Cluster, open_cluster
from knative.inventory import DeploymentRecord, read_inventory, write_inventory
from tests.cluster.sites import IMAGE, OTHER, Sites, open_sites
from tests.fakes.kubernetes.apiserver import Reply, Request
from tests.waiting import wait_until

FIRST, SECOND = "flowers-00001", "flowers-00002"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Sites]:
    """The workspace that a clock reconciles from."""
    folder = tmp_path / "server"
    folder.mkdir()
    with open_sites(folder, 1) as sites:
        yield sites


@pytest.fixture
def laptop(server: Sites, tmp_path: Path) -> Sites:
    """Another workspace of the same project."""
    return clone(server, tmp_path / "laptop")


def clone(sites: Sites, folder: Path) -> Sites:
    folder.mkdir()
    for file in ("eaves.yaml", "kubeconfig"):
        shutil.copy(sites.folder / file, folder / file)
    return replace(sites, folder=folder)


def run(sites: Sites, *words: str) -> str:
    """A command that does what it is asked; what it says."""
    result = sites.run(*words)
    assert result.exit_code == 0, (words, result.output, result.exception)
    return result.stderr


def deploy(sites: Sites, image: str = IMAGE, *more: str) -> str:
    return run(sites, "deploy", image, "--offline", "--on", "knative", *more)


def deployed(sites: Sites) -> str:
    """The container image that the Service's newest revision runs."""
    service = sites.knative["s000"].service()
    return str(service["spec"]["template"]["spec"]["containers"][0]["image"])


def most_replicas(sites: Sites) -> str:
    annotations = sites.knative["s000"].service()["spec"]["template"]["metadata"]["annotations"]
    return str(annotations["autoscaling.knative.dev/max-scale"])


def client(sites: Sites) -> Cluster:
    return open_cluster(kubeconfig=sites.folder / "kubeconfig", context="s000", namespace="eaves")


def last(sites: Sites) -> DeploymentRecord:
    """The newest deployment by the cluster's record."""
    deployment = read_inventory(client(sites), "flowers").deployment
    assert deployment is not None
    return deployment


def record(sites: Sites, *, by: str) -> None:
    """Let the newest deployment be somebody else's, who types on another machine."""
    inventory = read_inventory(client(sites), "flowers")
    assert inventory.deployment is not None
    write_inventory(client(sites), replace(inventory, deployment=replace(inventory.deployment, by=by)))


def is_apply(request: Request) -> bool:
    """Whether a request applies an object of the app."""
    return request.method == "PATCH" and "configmaps" not in request.path


def newest(sites: Sites) -> str:
    return str(sites.knative["s000"].service()["status"]["latestCreatedRevisionName"])


def test_a_deploy_says_whose_it_replaces(server: Sites, laptop: Sites):
    deploy(server, IMAGE)
    record(server, by="jane@laptop")
    said = deploy(laptop, OTHER)
    assert re.search(
        rf"^jane@laptop deployed {IMAGE} at \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d UTC \(the site's clock\); "
        "this deploy replaces it$",
        said,
        re.MULTILINE,
    )
    assert "replaces" not in deploy(laptop, IMAGE)


def test_an_eaves_yaml_that_is_older_than_the_deploy_is_not_applied(server: Sites, laptop: Sites):
    deploy(server, IMAGE)
    laptop.write_project(scale={"max": 3})
    deploy(laptop, IMAGE)
    record(laptop, by="jane@laptop")
    said = run(server, "reconcile", "--all")
    assert said.startswith("nothing applied; ")
    assert f"jane@laptop deployed {IMAGE} at " in said
    assert "with another eaves.yaml or another version of Eaves than this workspace" in said
    assert most_replicas(server) == "3"
    server.write_project(scale={"max": 3})
    assert "nothing applied" not in run(server, "reconcile", "--all")
    server.write_project(scale={"max": 4})
    run(server, "reconcile", "--all")
    assert most_replicas(server) == "4", "it had agreed with the newest deploy, so what is changed since is newer"
    assert f"deployed {IMAGE}" in run(laptop, "reconcile", "--all")
    assert most_replicas(server) == "4"


def test_a_deployer_that_is_killed_before_it_applied_anything_is_gone_on_from(server: Sites, laptop: Sites):
    deploy(server, IMAGE)
    cluster = server.clusters["s000"]
    held: list[Request] = []

    def hold(request: Request) -> Reply | None:
        held.extend([request] if is_apply(request) else [])
        return Reply(status=0, delay_s=60) if held else None

    cluster.fault = hold
    process = laptop.start("deploy", OTHER, "--offline", "--on", "knative")
    wait_until(lambda: held, 60, what="the first object")
    process.kill()
    process.communicate(timeout=20)
    cluster.fault = lambda request: None
    assert (deployed(server), last(server).image) == (IMAGE, OTHER)
    run(server, "reconcile", "--all")
    assert (deployed(server), last(server).sequence) == (OTHER, 2)
    deploy(laptop, IMAGE)
    assert last(server).sequence == 3


def test_a_diff_takes_no_number_and_notes_nothing(server: Sites):
    assert server.run("diff", IMAGE, "--offline", "--on", "knative").exit_code == 1
    assert server.clusters["s000"].all("v1/ConfigMap", namespace="eaves") == []
    assert not (server.folder / ".eaves").exists()
    deploy(server, IMAGE)
    before = server.clusters["s000"].objects.version
    note = (server.folder / ".eaves" / "wanted" / "flowers.json").read_text()
    assert server.run("diff", OTHER, "--offline", "--on", "knative").exit_code == 1
    assert server.clusters["s000"].objects.version == before
    assert (server.folder / ".eaves" / "wanted" / "flowers.json").read_text() == note


def test_a_function_that_is_refused_is_reported_and_the_others_go_on(server: Sites):
    for name in ("aaa", "bbb"):
        server.write_project(name=name)
        for image in (IMAGE, OTHER):
            assert server.run("deploy", image, "--offline", "--on", "knative").exit_code == 0
    (server.folder / "eaves.yaml").unlink()
    server.clusters["s000"].admit = lambda one: "not today" if one["metadata"]["name"] == "aaa" else ""
    result = server.run("reconcile", "--namespace", "eaves")
    assert isinstance(result.exception, PlatformError)
    lines = str(result.exception).splitlines()
    assert lines[0] == "1 of 2 rollouts can't be advanced:"
    assert lines[1].startswith("aaa: ")
    assert "not today" in lines[1]
    assert lines[2:] == [
        "the others are advanced:",
        "bbb: bbb-00001 90 %, bbb-00002 10 %: advancing: the revision is ready",
    ]
