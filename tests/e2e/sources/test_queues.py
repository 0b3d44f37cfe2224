"""An agent at a site whose function refuses one image and whose Broker is gone: seen and mended by commands."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from eaves.rollout.function_metrics import parse_metrics
from knative.client.cluster import Cluster
from knative.client.kinds import BROKER, STATEFUL_SET
from knative.resources.workload import METRICS_PORT
from tests.container_images.packaging import need
from tests.e2e.harness import KnativeSink
from tests.e2e.places import NAME, Place
from tests.e2e.pods import is_bound, run_kubectl
from tests.e2e.sources.test_volumes import CLAIMED, configure, pictures, read_queue, wait_for
from tests.e2e.volumes import claimed, make_claim, put_files
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(1800)
AGENT, POD = f"{NAME}.inbox", f"{NAME}-inbox-0"
BROKEN = b"not an image at all"


def listed(place: Place, *filters: str) -> list[dict[str, Any]]:
    """Entries of the agent's queue; none while its pod is replaced."""
    return read_queue(place, AGENT, *filters)


def reported(place: Place) -> dict[str, Any]:
    """What `eaves status` says of the agent; of none while its pod is replaced."""
    row = place.read_status()
    return dict(row["agents"][0]) if row["agents"] else {"dead": None, "pauses": []}


def measure(cluster: Cluster, name: str, **labels: str) -> float:
    """One metric of the agent, read through the API server as a Prometheus reads the pod."""
    answer = cluster.proxy(f"pods/{POD}:{METRICS_PORT}", "/metrics")
    assert answer.status == 200, answer.body
    (value,) = [value for found, value in parse_metrics(answer.body.decode())[name] if labels.items() <= found.items()]
    return value


def is_ready(cluster: Cluster) -> bool:
    found = cluster.get(STATEFUL_SET, f"{NAME}-inbox")
    return found is not None and found["status"].get("readyReplicas") == 1


def deploy_over_stale_binding(place: Place, image: str) -> None:
    """Deploy where Knative may keep the report of a Broker that was gone, by the command that the hint names."""
    done = place.deploy(image, codes=(0, 69))
    if done.returncode == 0:
        return
    (command,) = re.findall(r"if it exists: (kubectl [^;]+);", done.stderr)
    run_kubectl(place.kubeconfig, *shlex.split(command)[1:])
    place.deploy(image)


def test_an_agents_queue_is_listed_shown_retried_dropped_and_purged(
    place: Place, outside: KnativeSink, image: str, agent_image: str, tiny_artifact: Path
):
    need("kubectl")
    make_claim(place.cluster, CLAIMED)
    configure(place, outside, {"name": "inbox", "claim": CLAIMED}, agent_image=agent_image)
    place.deploy(image)
    wait_until(place.delivers, 180, pause_s=0.5, what="the Broker and its Triggers")
    wait_until(lambda: is_bound(place.cluster, POD), 180, pause_s=0.5, what="the pod that keeps its counters")
    put_files(place.cluster, claimed(CLAIMED), {**pictures(tiny_artifact, "a.png"), "bad.png": BROKEN}, image)
    wait_for(outside, "a.png")

    # The function refuses one image.
    wait_until(lambda: reported(place)["dead"] == 1, 120, pause_s=1, what="the dead letter in status")
    (dead,) = listed(place, "--dead")
    assert (dead["pod"], dead["subject"], dead["lane"]) == (POD, "bad.png", "sink")
    assert dead["reason"].startswith("answered 4")
    saved = place.folder / "saved.png"
    where = ("--on", "knative", "--agent", AGENT)
    shown = place.eaves("queue", "show", str(dead["seq"]), *where, "--save", saved, "-o", "json")
    assert saved.read_bytes() == BROKEN
    assert json.loads(shown.stdout)["attributes"]["source"] == "/eaves/test/inbox"
    assert measure(place.cluster, "eaves_dead_letters", lane="sink") == 1
    assert measure(place.cluster, "eaves_captured_total", source="inbox") == 2
    place.eaves("queue", "retry", str(dead["seq"]), *where)
    wait_until(lambda: listed(place, "--dead"), 120, pause_s=1, what="the image, refused again")
    assert place.eaves("queue", "drop", "--reason", "answered", *where, codes=(2,)).stderr.count("--yes") == 1
    assert place.eaves("queue", "drop", "--reason", "answered", *where, "--yes").stderr == "1 entry deleted\n"
    wait_until(lambda: listed(place) == [], 60, pause_s=1, what="an empty queue, once the refusal is reported")

    # The Broker is gone: Knative takes the sink from the agent and replaces its pod.
    place.cluster.delete(BROKER, "eaves")
    put_files(place.cluster, claimed(CLAIMED), pictures(tiny_artifact, "b.png", "c.png"), image)
    wait_until(lambda: reported(place)["pauses"], 180, pause_s=1, what="the pause in status")
    (pause,) = reported(place)["pauses"]
    assert pause["lane"] == "replies"
    assert "K_SINK is not set" in pause["reason"]
    wait_until(lambda: len(listed(place, "--lane", "replies")) == 2, 120, pause_s=1, what="two predictions")
    table = place.eaves("status").stdout
    assert "replies is paused for" in table
    assert measure(place.cluster, "eaves_queue_entries", lane="replies") == 2
    health = place.cluster.proxy(f"pods/{POD}:{METRICS_PORT}", "/health")
    assert (health.status, json.loads(health.body)["reasons"][0].startswith("lane replies is paused")) == (503, True)
    wait_until(lambda: is_ready(place.cluster), 60, pause_s=1, what="an agent that is ready, though its lane is paused")

    # Nothing is deleted without a command, and deliveries continue when the Broker is back.
    place.eaves("queue", "purge", "replies", *where, codes=(2,))
    assert len(listed(place, "--lane", "replies")) == 2, "it asks first"
    deploy_over_stale_binding(place, image)
    wait_until(place.delivers, 120, pause_s=0.5, what="the Broker and its Triggers")
    place.eaves("queue", "retry", "--all", *where)
    wait_for(outside, "a.png", "b.png", "c.png")

    # What is left of a lane is purged.
    place.cluster.delete(BROKER, "eaves")
    put_files(place.cluster, claimed(CLAIMED), pictures(tiny_artifact, "d.png"), image)
    wait_until(lambda: len(listed(place, "--lane", "replies")) == 1, 180, pause_s=1, what="a prediction that waits")
    assert place.eaves("queue", "purge", "replies", *where, "--yes").stderr == "1 entry deleted\n"
    assert listed(place) == []
    place.eaves("remove", NAME)
