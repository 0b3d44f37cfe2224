"""The Role that `eaves console render` writes is enough for what the console does."""

from __future__ import annotations

import pytest
import yaml
from click.testing import CliRunner

from eaves.cli.commands.receiver import render_console as command
from eaves.errors import DeniedError
from knative.client.cluster import Cluster
from knative.platform import KnativePlatform
from knative.settings import KnativeSettings
from tests.cluster.apps import AGENT_IMAGE, NAME, full_app
from tests.cluster.deploys import HOME, SITE
from tests.cluster.pins import IMAGES
from tests.cluster.roles import Role
from tests.fakes.controllers.knative import Knative
from tests.fakes.kubernetes.apiserver import FakeCluster
from tests.integration.knative.test_documented_roles import at, deploy, grant


def role_of(*flags: str) -> Role:
    """Return the Role that the command writes."""
    result = CliRunner().invoke(command, ["--image", AGENT_IMAGE, "--namespace", HOME, *flags])
    (role,) = [one for one in yaml.safe_load_all(result.stdout) if one["kind"] == "Role"]
    return Role(rules=role["rules"], namespace=HOME)


def look(cluster: Cluster, knative: Knative) -> KnativePlatform:
    """Read everything that the pages show."""
    platform = KnativePlatform(cluster, KnativeSettings(), SITE, by="console", ready_timeout_s=10)
    platform.status()
    platform.logs(NAME)
    return platform


@pytest.fixture
def deployed(cluster: Cluster, knative: Knative) -> Cluster:
    """A function with two revisions, of which the first gets every request, and its agents."""
    deploy(cluster, app=full_app())
    deploy(cluster, IMAGES[1])
    knative.run(str(knative.service()["status"]["latestCreatedRevisionName"]))
    return cluster


def test_a_console_reads_with_its_role_and_can_change_nothing(
    deployed: Cluster, knative: Knative, apiserver: FakeCluster
) -> None:
    refused = grant(apiserver, role_of())
    platform = look(deployed, knative)
    assert set(at(HOME, refused)) == set(), refused
    for change in (platform.promote, platform.rollback):
        with pytest.raises(DeniedError):
            change(NAME)


def test_a_writable_console_promotes_and_rolls_back_with_its_role(
    deployed: Cluster, knative: Knative, apiserver: FakeCluster
) -> None:
    refused = grant(apiserver, role_of("--writable"))
    platform = look(deployed, knative)
    platform.promote(NAME)
    platform.rollback(NAME)
    assert set(at(HOME, refused)) == set(), refused
