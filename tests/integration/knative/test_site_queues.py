"""The queues of agents at a site: in `eaves status` by the pod proxy, and in `eaves queue` by kubectl exec."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from eaves.admin.queue import SpoolQueue
from eaves.admin.report import LinkReport, SourceReport
from eaves.admin.server import answer_health
from eaves.delivery import LaneDelivery
from eaves.errors import ClusterError, DeniedError, InputError, NotFoundError
from eaves.events import IMAGE_CAPTURED, Event
from eaves.spool import Spool
from knative.resources.agent import SOURCE_LABEL
from knative.resources.eventing import PUBLISHER_PART, RELAY_PART, TRIGGER_LABEL
from knative.resources.metadata import (
    APP_LABEL,
    MANAGED_LABEL,
    MANAGED_VALUE,
    NAMESPACE_LABEL,
    PART_LABEL,
    SITE_LABEL,
)
from knative.resources.workload import METRICS_PORT
from tests.cluster.simulated import pod, service
from tests.cluster.sites import NAMESPACE, Sites, open_sites
from tests.fakes.kubernetes.apiserver import FakeCluster, Reply, Request
from tests.fakes.kubernetes.kubectl import FakeKubectl

INBOX, NORTH, SOUTH = "flowers-inbox-0", "flowers-s000-camera-n", "flowers-s000-camera-s"
IMAGE = bytes(range(256))
AGENTS = "eaves-agents"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sites]:
    """One site with an agent beside a volume and one on each of two nodes."""
    monkeypatch.chdir(tmp_path)
    with open_sites(tmp_path, 1) as sites:
        server = sites.clusters["s000"]
        server.objects.make_namespace(AGENTS)
        sites.write_project(knative={"agent_namespace": AGENTS})
        for name, source, namespace in (
            (INBOX, "inbox", NAMESPACE),
            (NORTH, "camera", AGENTS),
            (SOUTH, "camera", AGENTS),
        ):
            labels = {
                MANAGED_LABEL: MANAGED_VALUE,
                PART_LABEL: "source",
                APP_LABEL: "flowers",
                SOURCE_LABEL: source,
                SITE_LABEL: "s000",
                **({NAMESPACE_LABEL: NAMESPACE} if namespace == AGENTS else {}),
            }
            one = pod(name, namespace)
            one["metadata"]["labels"] = labels
            server.put({**one, "status": {"phase": "Running"}}, namespace=namespace)
        yield sites


@pytest.fixture
def spools(tmp_path: Path) -> Mapping[str, Path]:
    """The queue of each pod's agent: in the volume's a dead letter and a waiting prediction, on each node an image."""
    paths = {name: tmp_path / "spools" / name / "agent.db" for name in (INBOX, NORTH, SOUTH)}
    for name, path in paths.items():
        with Spool(path) as spool:
            source = "inbox" if name == INBOX else "camera"
            for subject in ("bad.png", "good.png") if name == INBOX else ("node.png",):
                event = Event(
                    id=f"{name}-{subject}",
                    source=f"/eaves/s000/{source}",
                    type=IMAGE_CAPTURED,
                    subject=subject,
                    datacontenttype="image/png",
                    data=IMAGE,
                )
                spool.put(event, lanes=("replies" if subject == "good.png" else "sink",))
            if name == INBOX:
                (entry,) = spool.peek("sink")
                spool.dead_letter(entry, "answered 422: not an image", 422)
    return paths


@pytest.fixture
def kubectl(tmp_path: Path, spools: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch) -> FakeKubectl:
    made = FakeKubectl(tmp_path / "bin", {name: {"EAVES_SPOOL": str(path)} for name, path in spools.items()})
    monkeypatch.setenv("PATH", f"{made.folder}{os.pathsep}{os.environ['PATH']}")
    return made


def listed(site: Sites, *arguments: str) -> list[dict[str, Any]]:
    result = site.run("queue", "list", "--on", "knative", "-o", "json", *arguments)
    assert result.exit_code == 0, result.output
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


def test_entries_of_every_agent_are_listed_and_shown_by_kubectl_as_the_same_user(
    site: Sites, kubectl: FakeKubectl, tmp_path: Path
):
    found = [(entry["agent"], entry["pod"], entry["lane"], entry["subject"], entry["state"]) for entry in listed(site)]
    assert found == [
        ("flowers.camera", NORTH, "sink", "node.png", "queued"),
        ("flowers.camera", SOUTH, "sink", "node.png", "queued"),
        ("flowers.inbox", INBOX, "sink", "bad.png", "dead"),
        ("flowers.inbox", INBOX, "replies", "good.png", "queued"),
    ]
    assert listed(site, "--pod", SOUTH, "--reason", "--lane=x") == []
    assert kubectl.calls[-1]["own"][3] == AGENTS  # type: ignore[index]
    (entry,) = listed(site, "--agent", "flowers.inbox", "--dead", "--older-than", "0h")
    call = kubectl.calls[-1]
    assert call["kubeconfig"] == str(site.folder / "kubeconfig")
    assert call["own"] == ["--context", "s000", "--namespace", NAMESPACE, "exec", INBOX, "--container", "agent"]
    assert call["command"] == [
        *("python", "-P", "-m", "eaves.sources.queue"),
        '{"do": "list", "state": "dead", "limit": 100}',
    ]

    number, saved = str(entry["seq"]), tmp_path / "saved.png"
    result = site.run("queue", "show", number, "--on", "knative", "--pod", INBOX, "--save", str(saved), "-o", "json")
    assert result.exit_code == 0, result.output
    assert saved.read_bytes() == IMAGE
    assert json.loads(result.stdout)["attributes"]["subject"] == "bad.png"
    error = site.run("queue", "show", number, "--on", "knative").exception
    assert isinstance(error, InputError)
    assert error.hint == f"add --pod {NORTH}"
    error = site.run("queue", "show", "99", "--on", "knative", "--pod", INBOX).exception
    assert isinstance(error, NotFoundError)
    assert error.message == f"{INBOX}: the queue has no entry 99"


def test_without_the_right_to_exec_the_role_is_named(site: Sites, kubectl: FakeKubectl):
    (kubectl.folder / "pods.json").write_text("{}")
    error = site.run("queue", "--on", "knative", "--pod", INBOX).exception
    assert isinstance(error, DeniedError)
    assert error.message.startswith(f"{INBOX}: kubectl exec failed: Error from server (Forbidden)")
    assert "pods/exec" in str(error.hint)


def test_an_agent_that_is_down_does_not_hide_the_queues_of_the_others(
    site: Sites, spools: Mapping[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    reached = {name: {"EAVES_SPOOL": str(path)} for name, path in spools.items() if name != NORTH}
    made = FakeKubectl(tmp_path / "partly", reached)
    monkeypatch.setenv("PATH", f"{made.folder}{os.pathsep}{os.environ['PATH']}")
    result = site.run("queue", "list", "--on", "knative", "-o", "json")
    assert {entry["pod"] for entry in json.loads(result.stdout)} == {INBOX, SOUTH}
    assert f"{NORTH}: " in result.stderr
    assert isinstance(result.exception, DeniedError), "the command doesn't end as if all of them had answered"
    result = site.run("queue", "retry", "--dead", "--on", "knative")
    assert "1 entry queued again" in result.stderr
    assert isinstance(result.exception, DeniedError)


def test_without_kubectl_the_command_to_run_elsewhere_is_reported(site: Sites, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(site.folder / "nothing here"))
    error = site.run("queue", "--on", "knative", "--pod", INBOX).exception
    assert isinstance(error, ClusterError)
    assert "kubectl is not installed on this machine" in error.message
    assert f"kubectl --context s000 --namespace {NAMESPACE} exec {INBOX} --container agent -- python" in str(error.hint)


def proxy(server: FakeCluster, spools: Mapping[str, Path]) -> None:
    """Let the pods' ports answer: the volume's agent is paused; one node's answers nonsense."""
    pause = LaneDelivery(lane="replies", paused=True, reason="answered 503", status=503, since=1.0, next_try_at=2.0)
    source = SourceReport(name="inbox", state="waiting", reason="/images is not there", last_captured_age_s=7300.0)
    link = LinkReport(to="https://cloud.example", state="down", reason="no connection", backlog_events=1)

    def answer(request: Request) -> Reply:
        kind, _, name = request.target.partition("/")
        assert (kind, request.path) == ("pods", "/health"), request
        asked, _, port = name.partition(":")
        assert port == str(METRICS_PORT)
        if asked == SOUTH:
            return Reply(body=b"<html>")
        with Spool(spools[asked]) as spool:
            of_relay = link if asked == "flowers-relay-0" else None
            queue = SpoolQueue(spool, deliveries=lambda: [pause], sources=lambda: [source], link=lambda: of_relay)
            reported = answer_health(queue, {}, "GET", "/health")
        return Reply(status=reported.status, headers=dict(reported.headers), body=reported.body)

    server.backend = answer


def deployed(site: Sites) -> FakeCluster:
    server = site.clusters["s000"]
    one = service()
    one["metadata"]["labels"] |= {MANAGED_LABEL: MANAGED_VALUE, SITE_LABEL: "s000"}
    server.put(one, namespace=NAMESPACE)
    return server


def test_status_shows_what_each_agent_says(site: Sites, spools: Mapping[str, Path]):
    proxy(deployed(site), spools)
    result = site.run("status", "-o", "json", "--on", "knative")
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)
    north, south, inbox = row["agents"]
    assert (inbox["pod"], inbox["queued"], inbox["dead"], inbox["state"]) == (INBOX, 1, 1, "running")
    assert (inbox["name"], inbox["sources"][0]["state"]) == ("flowers.inbox", "waiting")
    (pause,) = inbox["pauses"]
    assert (pause["lane"], pause["reason"], pause["since"]) == ("replies", "answered 503", 1.0)
    assert (north["queued"], north["oldest_age_s"] is None) == (1, False)
    assert (south["state"], south["queued"]) == ("unknown", None)
    assert "without a report" in south["reason"]
    table = site.run("status", "--on", "knative").stdout
    for text in ("flowers.inbox", "2 h ago", "/images is not there", "replies is paused for", "answered 503"):
        assert text in table


def test_the_queue_of_a_publisher_and_a_relay_is_shown_and_asked_like_an_agents(
    site: Sites, spools: Mapping[str, Path], kubectl: FakeKubectl
):
    server = deployed(site)
    relay, publisher = "flowers-relay-0", "flowers-out-mqtt-0"
    for name, part in ((relay, RELAY_PART), (publisher, PUBLISHER_PART)):
        one = pod(name, NAMESPACE)
        labels = {MANAGED_LABEL: MANAGED_VALUE, PART_LABEL: part, APP_LABEL: "flowers", SITE_LABEL: "s000"}
        one["metadata"]["labels"] = {**labels, TRIGGER_LABEL: "out"}
        server.put({**one, "status": {"phase": "Running"}}, namespace=NAMESPACE)
    proxy(server, {**spools, relay: spools[INBOX], publisher: spools[INBOX]})
    (row,) = json.loads(site.run("status", "-o", "json", "--on", "knative").stdout)
    found = {reported["pod"]: reported for reported in row["agents"]}
    for name, agent, container, link in (
        (relay, "flowers.relay", "relay", "down"),
        (publisher, "flowers.out-mqtt", "publisher", None),
    ):
        one = found[name]
        assert (one["name"], one["state"], one["queued"]) == (agent, "running", 1)
        assert (one["link"] and one["link"]["state"]) == link
        site.run("queue", "list", "--on", "knative", "--agent", agent)
        assert kubectl.calls[-1]["own"][-3:] == [name, "--container", container]  # type: ignore[index]
    assert found[INBOX]["link"] is None
