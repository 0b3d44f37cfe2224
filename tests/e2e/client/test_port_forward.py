"""Metrics of pods on a real cluster, by port-forward, with the rights that examples/roles grants and no others.

Kubernetes 1.35 and newer ask for both rights; older ones are content with `get`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from eaves.errors import ClusterError
from eaves.events import Event
from knative.client.cluster import Cluster, open_cluster
from knative.client.kinds import POD
from knative.rollout.observation import MetricsScrape, scrape_metrics
from tests.e2e.places import NAME, Place
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(600)
MakeEvent = Callable[..., Event]
ROLES = Path(__file__).parents[3] / "examples/roles/reconcile.yaml"
ACCOUNT, FIRST = "eaves-reconcile", f"{NAME}-00001"


def objects_for_reconcile() -> list[dict[str, Any]]:
    """The account, its Role and the binding that people are given."""
    return [one for one in yaml.safe_load_all(ROLES.read_text()) if one["kind"] != "CronJob"]


def ask(place: Place, make_event: MakeEvent, cluster: Cluster) -> MetricsScrape:
    """What is seen of the function's pods, once one has answered something."""
    seen: list[MetricsScrape] = []

    def read() -> bool:
        place.platform.invoke(NAME, make_event("asked.png"))
        seen.append(scrape_metrics(cluster, [FIRST]))
        return bool(seen[-1].readings or seen[-1].unread)

    wait_until(read, 60, pause_s=0.5, what="a pod of the function")
    return seen[-1]


def test_metrics_are_read_with_the_rights_of_the_page(place: Place, make_event: MakeEvent, image: str):
    place.deploy(image)
    place.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects_for_reconcile()).encode())
    account = open_cluster(kubeconfig=place.log_in(ACCOUNT).kubeconfig, namespace=place.cluster.namespace)
    assert not account.allowed("get", POD, subresource="proxy")
    seen = ask(place, make_event, account)
    assert seen.unread == {}
    reading = seen.readings[0]  # one replica may be ending while the next one answers
    assert (reading.revision, reading.tally.answered > 0) == (FIRST, True)
    with pytest.raises(ClusterError, match="port 8999 refuses connections"):
        account.ask_pod(reading.pod, 8999, "/")
    findings = place.read("doctor", codes=(0, 3))
    said = {one["check"]: one for one in findings if one["check"] in {"permissions", "dns"}}
    assert {check: one["severity"] for check, one in said.items()} == {"permissions": "ok", "dns": "ok"}, said
