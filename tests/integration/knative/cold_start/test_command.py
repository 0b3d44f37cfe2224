"""`eaves doctor --cold-start` on a simulated cluster, as it is typed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from eaves.cli import cli
from eaves.errors import DeniedError, NotFoundError, PlatformError, StartError
from eaves.platform.cold_start import PHASES
from knative.client.cluster import open_cluster
from knative.cold_start import ZeroWait, read_target, wait_zero
from tests.fakes.controllers.cold_function import STAGES, ColdFunction
from tests.fakes.controllers.knative import Knative
from tests.fakes.controllers.serving import SERVICE
from tests.fakes.kubernetes.apiserver import FakeCluster, open_apiserver
from tests.fakes.kubernetes.cluster import Reply, Request

NAMESPACE = "eaves"
LOGGED = [{"name": "EAVES_TIMING", "value": "True"}]


@pytest.fixture
def server() -> Iterator[FakeCluster]:
    with open_apiserver("barn") as running:
        yield running


@pytest.fixture
def knative(server: FakeCluster) -> Knative:
    return Knative(server, NAMESPACE)


@pytest.fixture
def project(server: FakeCluster, tmp_path: Path) -> Path:
    """An eaves.yaml with a site, and beside it the kubeconfig."""
    server.kubeconfig(tmp_path / "kubeconfig", namespace=NAMESPACE)
    file = tmp_path / "eaves.yaml"
    values = {"name": "flowers", "data": {"path": "photos"}, "sites": [{"name": "barn", "namespace": NAMESPACE}]}
    file.write_text(yaml.safe_dump(values))
    return file


def deploy(knative: Knative, name: str = "flowers", *, env: Any = (), **annotations: str) -> None:
    """What another tool has applied: a Knative Service that is ready."""
    container = {"name": "function", "image": "r/f@sha256:1", "env": list(env), "ports": [{"containerPort": 8080}]}
    scaling = {f"autoscaling.knative.dev/{key.replace('_', '-')}": value for key, value in annotations.items()}
    template = {"metadata": {"annotations": scaling}, "spec": {"containers": [container]}}
    service = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": name}}
    traffic = [{"latestRevision": True, "percent": 100}]
    knative.server.put({**service, "spec": {"template": template, "traffic": traffic}}, namespace=NAMESPACE)
    knative.take_up(name)


def doctor(project: Path, *arguments: str) -> Result:
    options = ["--file", str(project), "--kubeconfig", str(project.parent / "kubeconfig")]
    return CliRunner().invoke(cli, ["doctor", *options, *arguments], prog_name="eaves")


def test_a_start_is_split_from_the_request_to_the_answer(project: Path, knative: Knative) -> None:
    deploy(knative, env=LOGGED)
    function = ColdFunction(knative, stages=STAGES, pulled=True)
    result = doctor(project, "--cold-start", "--repeats", "1", "-o", "json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    (start,) = found["starts"]
    phases = start["phases_ms"]
    before = ["autoscaling", "scheduling", "sandbox", "image", "container"]
    own = ["interpreter", "imports", "session", "golden", "server", "sidecar", "probe", "activator", "prediction"]
    assert list(phases) == [*before, *own, "answer"]
    assert sum(phases.values()) == pytest.approx(start["total_ms"], abs=1.0)
    assert min(phases.values()) >= 0
    assert start["pulled"] is True
    assert any("pulled the container image in 1 of 1" in hint for hint in found["hints"])
    assert [row["phase"] for row in found["phases"]] == [*phases, "total", "warm"]
    sent = function.asked[0]
    assert (sent.method, sent.headers["Content-Type"], sent.body[:3]) == ("POST", "image/jpeg", b"\xff\xd8\xff")
    assert not [name for name in sent.headers if name.lower().startswith("ce-")]


def test_no_image_is_sent_before_the_watches_have_begun(project: Path, knative: Knative, server: FakeCluster) -> None:
    """A watch that begins after the request reports the first changes late, as if the platform were slow."""
    deploy(knative)
    ColdFunction(knative)
    order: list[str] = []

    def slow(request: Request) -> Reply | None:
        if request.path.endswith("/events") and "watch" not in request.query:
            server.closing.wait(0.3)
            order.append("listed")
        if "/proxy" in request.path:
            order.append("sent")
        return None

    server.fault = slow
    assert doctor(project, "--cold-start", "--repeats", "1").exit_code == 0
    assert order[:2] == ["listed", "sent"]


def test_a_table_has_a_line_for_each_phase_and_the_floor_beside_it(project: Path, knative: Knative) -> None:
    deploy(knative)
    deploy(knative, "trivial")
    ColdFunction(knative)
    floor = ColdFunction(knative, "trivial")
    result = doctor(project, "--cold-start", "flowers", "--repeats", "1", "--floor", "trivial")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["PHASE", "MS", "MIN", "MAX", "FLOOR", "WHAT"]
    assert [line.split()[0] for line in lines[1:9]] == [
        "autoscaling", "scheduling", "sandbox", "image", "container", "process", "answer", "total",
    ]  # fmt: skip
    assert max(map(len, lines[:10])) <= 80
    assert "function.timing" in result.stdout, "without it the process is one phase"
    assert floor.asked[0].method == "GET"


def test_a_function_that_serves_is_left_alone(project: Path, knative: Knative) -> None:
    deploy(knative)
    function = ColdFunction(knative)
    function.start()
    result = doctor(project, "--cold-start", "--repeats", "1")
    assert isinstance(result.exception, StartError)
    assert "not at zero: 1 pod exists" in result.exception.message
    assert function.asked == []


def test_it_waits_for_zero_when_asked_and_gives_up_when_others_keep_it_busy(project: Path, knative: Knative) -> None:
    deploy(knative, window="6s")
    function = ColdFunction(knative)
    function.start()
    cluster = open_cluster(kubeconfig=project.parent / "kubeconfig", namespace=NAMESPACE)
    target = read_target(cluster, "flowers")
    assert target.window_s == 6.0
    passed: list[float] = []
    how = ZeroWait(grace_s=4.0, sleep=passed.append, clock=lambda: float(len(passed)))
    with pytest.raises(StartError, match="did not scale to zero within 10 s"):
        wait_zero(cluster, target, how)
    seen: list[int] = []
    wait_zero(cluster, target, ZeroWait(show=seen.append, sleep=lambda _: function.end()))
    assert seen == [1]


@pytest.mark.parametrize(
    ("annotations", "window_s"),
    [
        ({}, 60.0),
        ({"window": "1m30s"}, 90.0),
        ({"window": "1h0m0s"}, 3600.0),
        ({"window": "6s", "scale_to_zero_pod_retention_period": "2m"}, 126.0),
        ({"window": "soon"}, 60.0),
    ],
)
def test_the_wait_for_zero_is_as_long_as_the_revision_says(
    project: Path, knative: Knative, annotations: dict[str, str], window_s: float
) -> None:
    deploy(knative, **annotations)
    cluster = open_cluster(kubeconfig=project.parent / "kubeconfig", namespace=NAMESPACE)
    assert read_target(cluster, "flowers").window_s == window_s


def test_a_function_that_never_goes_to_zero_has_no_cold_start(project: Path, knative: Knative) -> None:
    deploy(knative, min_scale="1")
    result = doctor(project, "--cold-start")
    assert isinstance(result.exception, StartError)
    assert "minimum number of replicas is 1," in result.exception.message


def test_a_rollout_is_not_disturbed(project: Path, knative: Knative) -> None:
    deploy(knative)
    service = knative.service()
    shares = [{"revisionName": f"flowers-0000{number}", "percent": 50} for number in (1, 2)]
    service["status"]["traffic"] = shares
    knative.server.status(SERVICE, "flowers", service["status"], namespace=NAMESPACE)
    result = doctor(project, "--cold-start")
    assert isinstance(result.exception, StartError)
    assert "2 revisions of flowers get requests" in result.exception.message


def test_a_refused_image_is_the_commands_error(project: Path, knative: Knative) -> None:
    deploy(knative)
    ColdFunction(knative, status=415)
    result = doctor(project, "--cold-start", "--repeats", "1")
    assert isinstance(result.exception, PlatformError)
    assert "answered 415: this is no image" in result.exception.message
    assert "--image" in str(result.exception.hint)


def test_what_is_sent_can_be_chosen(project: Path, knative: Knative) -> None:
    deploy(knative)
    function = ColdFunction(knative)
    numbers = project.parent / "numbers.json"
    numbers.write_text("[1, 2]")
    assert doctor(project, "--cold-start", "--repeats", "1", "--image", str(numbers)).exit_code == 0
    assert (function.asked[0].headers["Content-Type"], function.asked[0].body) == ("application/json", b"[1, 2]")


def test_an_option_of_a_measurement_without_one_is_an_error(project: Path, knative: Knative) -> None:
    deploy(knative)
    result = doctor(project, "--wait")
    assert result.exit_code == 2
    assert "--wait is for cold starts; add --cold-start" in result.stderr


def test_an_unknown_function_is_named(project: Path, knative: Knative) -> None:
    deploy(knative)
    result = doctor(project, "--cold-start", "roses")
    assert isinstance(result.exception, NotFoundError)
    assert "existing: flowers" in result.exception.message


def test_without_the_right_to_watch_no_image_is_sent(project: Path, knative: Knative, server: FakeCluster) -> None:
    deploy(knative)
    function = ColdFunction(knative)
    server.denied.add(("watch", "events"))
    result = doctor(project, "--cold-start", "--repeats", "1")
    assert isinstance(result.exception, DeniedError)
    assert "watch events in eaves" in result.exception.message
    assert function.asked == []


def test_every_phase_that_is_printed_is_described() -> None:
    assert all(len(text) <= 34 for text in PHASES.values())
