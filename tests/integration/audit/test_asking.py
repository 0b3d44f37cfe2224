"""The ledger of a running relay, asked for over its socket and in its pod."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from eaves.errors import NotFoundError
from knative.resources import eventing as resources
from knative.resources.metadata import APP_LABEL, MANAGED_LABEL, MANAGED_VALUE, PART_LABEL, SITE_LABEL
from tests.cluster.simulated import pod
from tests.cluster.sites import NAMESPACE, Sites, open_sites
from tests.fakes.kubernetes.kubectl import FakeKubectl
from tests.processes.receiving import TOKEN, Served, classified, receiving, write_site
from tests.processes.relaying import RelayProcess
from tests.waiting import wait_until

SITE = "mill"


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Served]:
    write_site(tmp_path / "sites", SITE)
    with receiving(tmp_path) as served:
        yield served


@pytest.fixture
def relay(tmp_path: Path, cloud: Served) -> Iterator[RelayProcess]:
    """A relay that has forwarded three events."""
    link = tmp_path / "link"
    link.mkdir()
    (link / "token").write_text(TOKEN)
    shutil.copyfile(tmp_path / "credentials" / "tls.crt", link / "ca.crt")
    to = f"https://127.0.0.1:{cloud.port}"
    with RelayProcess(tmp_path / "edge", to, EAVES_SITE=SITE, EAVES_CREDENTIALS=str(link)) as made:
        assert made.post_batch([classified(number, site=SITE) for number in range(3)]) == 202
        wait_until(lambda: made.link()["forwarded"] == 3, 30, what="three forwarded events")
        yield made


@pytest.fixture
def site(tmp_path: Path, relay: RelayProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sites]:
    """A site whose relay's pod is the relay here, reached by kubectl exec."""
    monkeypatch.chdir(tmp_path)
    with open_sites(tmp_path, 1) as sites:
        sites.write_project()
        labels = {
            MANAGED_LABEL: MANAGED_VALUE,
            PART_LABEL: resources.RELAY_PART,
            APP_LABEL: "flowers",
            SITE_LABEL: "s000",
        }
        one = pod("flowers-relay-0", NAMESPACE)
        one["metadata"]["labels"] = labels
        sites.clusters["s000"].put({**one, "status": {"phase": "Running"}}, namespace=NAMESPACE)
        kubectl = FakeKubectl(tmp_path / "bin", {"flowers-relay-0": {"EAVES_SPOOL": str(relay.spool)}})
        monkeypatch.setenv("PATH", f"{kubectl.folder}{os.pathsep}{os.environ['PATH']}")
        yield sites


@pytest.mark.long("links are cut while events are sent")
def test_the_relay_of_a_site_is_audited_with_the_sites_token(site: Sites, tmp_path: Path):
    result = site.run("relay", "ledger", "--on", "knative")
    assert result.exit_code == 0, result.output
    assert [json.loads(line)["id"] for line in result.stdout.splitlines()] == ["id-0", "id-1", "id-2"]
    arguments = ("relay", "audit", "--on", "knative", "--credentials", str(tmp_path / "link"))
    result = site.run(*arguments, "-o", "json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["totals"]["sent"], found["totals"]["received"], found["passed"]) == (3, 3, True)
    assert isinstance(site.run(*arguments, "--app", "roses").exception, NotFoundError)
