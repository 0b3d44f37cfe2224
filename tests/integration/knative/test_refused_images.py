"""Images that a revision refused before it lost all requests are sent again to the one that serves."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from eaves.events import Event
from eaves.problem_document import CONTENT_TYPE, build_problem
from knative.resources.agent import SOURCE_LABEL
from knative.resources.metadata import APP_LABEL, MANAGED_LABEL, MANAGED_VALUE, PART_LABEL
from knative.rollout import RolloutState, parse_rollout_status
from tests.cluster.rollouts import FIRST, SECOND
from tests.cluster.simulated import pod
from tests.cluster.sites import IMAGE, NAMESPACE, OTHER, Sites, open_sites
from tests.contract.sinks import Reported, open_sink
from tests.fakes.kubernetes.kubectl import FakeKubectl
from tests.ports import find_port
from tests.processes.agents import PNG, AgentProcess
from tests.waiting import wait_until

AGENT = "flowers-cam-0"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sites]:
    """A site where the second revision gets half of the requests; its agent's pod is ready."""
    monkeypatch.chdir(tmp_path)
    with open_sites(tmp_path, 1) as sites:
        for image in (IMAGE, OTHER):
            assert sites.run("deploy", image, "--offline", "--on", "knative").exit_code == 0
        assert sites.run("rollout", "--percent", "50", "--on", "knative").exit_code == 0
        one = pod(AGENT, NAMESPACE)
        one["metadata"]["labels"] = {
            MANAGED_LABEL: MANAGED_VALUE, PART_LABEL: "source", APP_LABEL: "flowers", SOURCE_LABEL: "cam",
        }  # fmt: skip
        sites.clusters["s000"].put({**one, "status": {"phase": "Running"}}, namespace=NAMESPACE)
        yield sites


@pytest.fixture
def agent(tmp_path: Path, site: Sites) -> Iterator[AgentProcess]:
    """A real agent, whose two images were refused: one by either revision, and one by the second revision only."""

    def decide(event: Event) -> Reported:
        if event.subject == "broken.png":
            return refusal(FIRST)
        return refusal(SECOND) if SECOND in site.served("s000") else Reported(status=200, echo=True)

    with open_sink() as function:
        function.decide = decide
        broker = f"http://127.0.0.1:{find_port()}/"
        made = AgentProcess(tmp_path / "agent", broker, EAVES_FUNCTION_URL=function.url)
        try:
            made.start()
            (made.inbox / "broken.png").write_bytes(PNG + b"broken")
            (made.inbox / "good.png").write_bytes(PNG)
            wait_until(lambda: made.lane("sink").get("dead") == 2, 30, what="two refused images")
            yield made
        finally:
            made.stop()


def refusal(revision: str) -> Reported:
    """The answer of a function with K_REVISION, as its own tests have it."""
    hint = "name the type in function.accept_types"
    body = build_problem(415, "the data is not in a known format", hint, kind="unsupported-content", revision=revision)
    return Reported(status=415, content_type=CONTENT_TYPE, body=body.decode())


def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, agent: AgentProcess, *reached: str) -> None:
    made = FakeKubectl(tmp_path / f"bin-{len(reached)}", dict.fromkeys(reached, agent.environ))
    monkeypatch.setenv("PATH", f"{made.folder}{os.pathsep}{os.environ['PATH']}")


def state(site: Sites) -> RolloutState:
    found = parse_rollout_status(site.knative["s000"].service()).state
    assert found is not None
    return found


def wait_for_prediction(agent: AgentProcess) -> None:
    """Until only the image that the serving revision refused too is a dead letter."""
    wait_until(lambda: agent.lane("sink")["dead"] == 1, 30, what="the prediction of the image that is sent again")
    (dead,) = agent.ask_queue("list", state="dead")
    assert dead["subject"] == "broken.png"


def test_a_rollback_queues_what_the_revision_refused_and_the_old_one_predicts_it(
    site: Sites, agent: AgentProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubectl(tmp_path, monkeypatch, agent, AGENT)
    result = site.run("rollback", "--on", "knative")
    assert result.exit_code == 0, result.output
    assert f"1 image is queued again, which {SECOND} refused" in result.stderr
    wait_for_prediction(agent)
    assert state(site).to_retry == (SECOND,), "a request that was under way is refused a little later"
    site.clusters["s000"].skew_s += 60
    assert site.run("reconcile").exit_code == 0
    assert state(site).to_retry == ()


def test_an_agent_that_cant_be_asked_at_the_rollback_is_asked_by_reconcile(
    site: Sites, agent: AgentProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubectl(tmp_path, monkeypatch, agent)
    site.clusters["s000"].skew_s += 3600
    result = site.run("rollback", "--on", "knative")
    assert (result.exit_code, site.served("s000")) == (0, {FIRST: 100}), "the rollback itself succeeds"
    assert f"""eaves queue retry --dead --reason '"revision": "{SECOND}"'""" in result.stderr
    site.clusters["s000"].skew_s += 3600
    assert "not queued again everywhere yet" in site.run("reconcile").output
    assert state(site).to_retry == (SECOND,)
    assert agent.lane("sink")["dead"] == 2
    kubectl(tmp_path, monkeypatch, agent, AGENT)
    assert "1 image is queued again" in site.run("reconcile").output
    wait_for_prediction(agent)
    assert state(site).to_retry == ()


def test_a_rollout_that_is_held_and_a_deploy_that_waits_for_one_queue_them_too(
    site: Sites, agent: AgentProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubectl(tmp_path, monkeypatch, agent, AGENT)
    site.write_project(rollout={"steps": ["50"], "step_s": 1, "deadline_s": 1})
    third = OTHER.replace("d" * 64, "e" * 64)
    result = site.run("deploy", third, "--offline", "--on", "knative", "--wait")
    assert result.exit_code != 0
    assert "held: undecided after" in str(result.exception)
    assert site.served("s000") == {FIRST: 100}
    assert f"s000: 1 image is queued again, which {SECOND}, flowers-00003 refused" in result.stderr
    wait_for_prediction(agent)
