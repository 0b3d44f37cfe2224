"""The two ends of the link as pods, without a function: many events, pods killed, the link silent for minutes.

This needs Kubernetes and the agents' container image, and nothing of Knative. Its short form is `--relay-events 500
--relay-cut-s 60`.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from eaves.admin.report import LinkReport, QueueReport, from_json
from eaves.errors import ClusterError
from eaves.platform import RelaySpec
from eaves.spool.ledger import to_dict
from knative.client.cluster import Cluster
from knative.client.kinds import POD, SINK_BINDING
from knative.resources.eventing import AGENTS, RELAY_PART, build_servers
from knative.resources.function import build_account
from knative.resources.metadata import APP_LABEL, PART_LABEL
from knative.resources.pod import build_security
from knative.resources.workload import METRICS_PORT
from knative.settings import ClusterApp, KnativeSettings, SiteSettings
from knative.status.site_status import Kubectl, PodQueue
from tests.cluster.apps import NAME, plain_app
from tests.container_images.packaging import need
from tests.e2e.harness import MANAGER, is_pod_ready
from tests.e2e.link import LINES, Cloud, audit_files, kill_pod, start_cloud
from tests.e2e.places import Namespaces
from tests.e2e.relay.test_relay import KILL_EVERY_S
from tests.waiting import wait_until

log = logging.getLogger(__name__)
pytestmark = pytest.mark.timeout(3600)
SITE, RELAY_POD, SENDER = "barn", f"{NAME}-relay-0", "sender"
SEND = """
import http.client, json, sys, time
for number in range(int(sys.argv[1])):
    event = {"specversion": "1.0", "id": "id-%d" % number, "source": "/eaves/barn/flowers",
             "type": "dev.eaves.image.classified.v1", "datacontenttype": "application/json", "data": {"n": number}}
    while True:
        try:
            connection = http.client.HTTPConnection(sys.argv[2], 80, timeout=10)
            connection.request("POST", "/", json.dumps(event), {"Content-Type": "application/cloudevents+json"})
            status = connection.getresponse().status
            connection.close()
            if status < 300:
                break
        except OSError:
            pass
        time.sleep(0.5)
"""
"""What an agent does: each event until the relay has answered for it."""


@pytest.fixture
def cloud(namespaces: Namespaces, agent_image: str, tmp_path: Path) -> Iterator[Cloud]:
    """A receiver with a link before it."""
    need("kubectl")
    cluster = namespaces.open("cloud")
    yield start_cloud(cluster, site=SITE, image=agent_image, folder=tmp_path, kubeconfig=namespaces.kubeconfig)
    namespaces.close(cluster.namespace)


@pytest.fixture
def site(namespaces: Namespaces, cloud: Cloud, agent_image: str) -> Iterator[Cluster]:
    """A namespace with a relay and nothing else."""
    cluster = namespaces.open("site")
    cloud.make_secret(cluster, "link")
    relay = RelaySpec(to=cloud.url, secret="link", spool_size="500Mi")
    where = SiteSettings(name=SITE, namespace=cluster.namespace)
    app: ClusterApp = replace(plain_app(), relay=relay, knative=KnativeSettings(agent_image=agent_image), site=where)
    for manifest in (build_account(app), *build_servers(app)):
        if manifest["kind"] != SINK_BINDING.kind:
            cluster.apply(manifest, manager=MANAGER)
    wait_until(lambda: is_pod_ready(cluster.get(POD, RELAY_POD)), 240, pause_s=0.5, what="the relay")
    yield cluster
    namespaces.close(cluster.namespace)


def send(site: Cluster, image: str, count: int) -> None:
    """Start what sends events, with the labels of an agent: the relay's NetworkPolicy lets those in."""
    container = {
        "name": SENDER,
        "image": image,
        "command": ["python", "-I", "-c", SEND, str(count), f"{NAME}-relay"],
        "securityContext": build_security(),
    }
    site.apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": SENDER, "labels": {APP_LABEL: NAME, PART_LABEL: AGENTS}},
            "spec": {"automountServiceAccountToken": False, "restartPolicy": "Never", "containers": [container]},
        },
        manager=MANAGER,
    )


def link_of(site: Cluster) -> LinkReport | None:
    """How the relay says that its link is; None while it can't be asked."""
    try:
        answer = site.proxy(f"pods/{RELAY_POD}:{METRICS_PORT}", "/health", timeout_s=5)
        return from_json(QueueReport, json.loads(answer.body)["report"]).link
    except (ClusterError, ValueError, KeyError):
        return None


def write_sent(site: Cluster, kubectl: Kubectl, file: Path) -> None:
    """Write the relay's ledger as JSON lines."""
    queue, last = PodQueue(kubectl, site.namespace, RELAY_POD, container=RELAY_PART), 0
    with file.open("w", encoding="utf-8") as stream:
        while lines := queue.ledger(after=last, limit=LINES):
            stream.writelines(f"{json.dumps(to_dict(line))}\n" for line in lines)
            last = lines[-1].number


def test_every_event_arrives_once_although_both_ends_are_killed_and_the_link_is_silent_for_minutes(
    site: Cluster, cloud: Cloud, agent_image: str, tmp_path: Path, pytestconfig: pytest.Config,
) -> None:  # fmt: skip
    count, cut_s = int(pytestconfig.getoption("--relay-events")), float(pytestconfig.getoption("--relay-cut-s"))
    send(site, agent_image, count)
    wait_until(lambda: (link := link_of(site)) is not None and link.forwarded > 0, 120, pause_s=0.5, what="an event")
    cloud.link("silence")
    silent_at = next_kill = time.monotonic()
    kills, restored = 0, False

    def has_passed() -> bool:
        nonlocal next_kill, kills, restored
        now = time.monotonic()
        if now >= next_kill:
            next_kill = now + KILL_EVERY_S
            kills += 1
            if kills % 2:
                kill_pod(cloud.kubectl, site, RELAY_POD)
            else:
                cloud.kill()
        if not restored and now - silent_at >= cut_s:
            cloud.link("restore")
            restored = True
        phase = (site.get(POD, SENDER) or {}).get("status", {}).get("phase")
        assert phase != "Failed", "the sender has failed; kubectl logs sender says why"
        return bool(restored and phase == "Succeeded")

    wait_until(has_passed, cut_s + count + 300, pause_s=1, what="the end of the silence and of the sender")
    cloud.kill()
    wait_until(
        lambda: (link := link_of(site)) is not None and link.up and link.backlog_events == 0,
        600, pause_s=1, what="an empty queue",
    )  # fmt: skip
    wait_until(cloud.is_ready, 120, pause_s=1, what="the receiver")
    sent, received = tmp_path / "sent.jsonl", tmp_path / "received.jsonl"
    write_sent(site, cloud.kubectl, sent)
    cloud.write_ledger(received)
    totals = audit_files(sent, received)
    log.info("audit: %d events, %d kills, silent for %g s: %s", count, kills + 1, cut_s, totals)
    assert totals["missing"] == totals["unknown"] == totals["waiting"] == totals["dead"] == 0
    assert totals["sent"] == totals["received"] == count
