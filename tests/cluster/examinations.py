"""An examination in the tests: a cluster with Knative where all is well, what is wanted there, and who looks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eaves.platform import FunctionSpec, SourceSpec, default_trigger
from eaves.platform.findings import OK, Finding
from knative.client.cluster import Cluster, open_cluster
from knative.doctor import examine
from knative.settings import ClusterApp, KnativeSettings, SiteSettings
from tests.cluster.apps import at_site
from tests.fakes.controllers.installation import install_knative
from tests.fakes.kubernetes.apiserver import FakeCluster, open_apiserver

HERE = "barn"
IMAGE = "registry.test:5000/flowers@sha256:" + 64 * "a"
AGENT = "registry.test:5000/agent@sha256:" + 64 * "b"
SETTINGS = KnativeSettings(agent_image=AGENT)
SITE = SiteSettings(name="barn")
APP = ClusterApp(
    function=FunctionSpec(name="flowers", site="barn"),
    triggers=(default_trigger("flowers"),),
    image=IMAGE,
    knative=SETTINGS,
    site=SITE,
)


@pytest.fixture
def server() -> Iterator[FakeCluster]:
    with open_apiserver() as running:
        install_knative(running)
        yield running


@pytest.fixture
def cluster(server: FakeCluster, tmp_path: Path) -> Cluster:
    return open_cluster(kubeconfig=server.kubeconfig(tmp_path / "kubeconfig", namespace=HERE), timeout_s=10)


class Patient:
    """One cluster, and what is found with these settings."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def find(self, check: str, *, app: ClusterApp = APP, site: SiteSettings = SITE, **settings: Any) -> list[Finding]:
        """What one check finds, `ok` left out."""
        found = examine(self._cluster, at_site(app, replace(SETTINGS, **settings), site))
        return [finding for finding in found if finding.check == check and finding.severity != OK]

    def one(self, check: str, **more: Any) -> Finding:
        """The one thing that one check finds."""
        (finding,) = self.find(check, **more)
        return finding


@pytest.fixture
def patient(cluster: Cluster) -> Patient:
    return Patient(cluster)


def source(**values: Any) -> ClusterApp:
    return replace(APP, sources=(SourceSpec(name="cam", **values),))
