"""Metrics of pods on a real cluster, by port-forward, with the rights that examples/roles grants and no others.

Kubernetes 1.35 and newer ask for both rights; older ones are content with `get`.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from eaves.errors import ClusterError, DeniedError
from eaves.events import Event
from knative.client.cluster import Cluster, open_cluster
from knative.client.kinds import POD
from knative.rollout.observation import MetricsScrape, scrape_metrics
from tests.container_images.packaging import need
from tests.e2e.places import NAME, Place
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(600)
MakeEvent = Callable[..., Event]
ROLES = Path(__file__).parents[3] / "examples/roles/reconcile.yaml"
ACCOUNT, FIRST = "eaves-reconcile", f"{NAME}-00001"


def kubectl(place: Place, *words: str, text: str = "") -> str:
    """What kubectl prints in the place's namespace."""
    where = ["--namespace", place.cluster.namespace]
    where += ["--kubeconfig", str(place.kubeconfig.absolute())] if place.kubeconfig else []
    done = subprocess.run(
        [need("kubectl"), *where, *words], input=text, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


def objects_for_reconcile() -> list[dict[str, Any]]:
    """The account, its Role and the binding that people are given."""
    return [one for one in yaml.safe_load_all(ROLES.read_text()) if one["kind"] != "CronJob"]


def log_in(place: Place, folder: Path) -> Cluster:
    """The same cluster and namespace as that account."""
    config = yaml.safe_load(kubectl(place, "config", "view", "--minify", "--raw", "-o", "yaml"))
    config["users"][0]["user"] = {"token": kubectl(place, "create", "token", ACCOUNT).strip()}
    file = folder / "account.kubeconfig"
    file.write_text(yaml.safe_dump(config))
    return open_cluster(kubeconfig=file, namespace=place.cluster.namespace)


def ask(place: Place, make_event: MakeEvent, cluster: Cluster) -> MetricsScrape:
    """What is seen of the function's pods, once one has answered something."""
    seen: list[MetricsScrape] = []

    def read() -> bool:
        place.platform.invoke(NAME, make_event("asked.png"))
        seen.append(scrape_metrics(cluster, [FIRST]))
        return bool(seen[-1].readings or seen[-1].unread)

    wait_until(read, 60, pause_s=0.5, what="a pod of the function")
    return seen[-1]


def test_metrics_are_read_with_the_rights_of_the_page(
    place: Place, make_event: MakeEvent, image: str, tmp_path: Path
) -> None:
    place.eaves("deploy", image, "--plain-http")
    kubectl(place, "apply", "-f", "-", text=yaml.safe_dump_all(objects_for_reconcile()))
    account = log_in(place, tmp_path)
    assert not account.allowed("get", POD, subresource="proxy")
    seen = ask(place, make_event, account)
    assert seen.unread == {}
    (reading,) = seen.readings
    assert (reading.revision, reading.tally.answered > 0) == (FIRST, True)
    with pytest.raises(ClusterError, match="port 8999 refuses connections"):
        account.ask_pod(reading.pod, 8999, "/")
    findings = json.loads(place.eaves("doctor", "-o", "json", codes=(0, 3)).stdout)
    said = {one["check"]: one for one in findings if one["check"] in {"permissions", "dns"}}
    assert {check: one["severity"] for check, one in said.items()} == {"permissions": "ok", "dns": "ok"}, said


@pytest.mark.parametrize("verbs", [["get"], ["create"]], ids=["get", "create"])
def test_one_of_the_two_rights_is_not_enough_and_it_is_said(
    place: Place, make_event: MakeEvent, image: str, tmp_path: Path, verbs: list[str]
) -> None:
    place.eaves("deploy", image, "--plain-http")
    objects = objects_for_reconcile()
    (role,) = [one for one in objects if one["kind"] == "Role"]
    (rule,) = [one for one in role["rules"] if one["resources"] == ["pods/portforward"]]
    rule["verbs"] = verbs
    kubectl(place, "apply", "-f", "-", text=yaml.safe_dump_all(objects))
    account = log_in(place, tmp_path)
    seen = ask(place, make_event, account)
    assert seen.readings == ()
    (reason,) = seen.unread.values()
    assert f"may not {'create' if verbs == ['get'] else 'get'} pods/portforward" in reason
    with pytest.raises(DeniedError, match="pods/portforward"):
        account.ask_pod(next(iter(seen.unread)), 8080, "/metrics")
