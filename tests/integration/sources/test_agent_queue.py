"""An agent's queue while its function refuses one image and its broker is gone: seen, mended and measured."""

import base64
import json
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from eaves.events import Event
from tests.contract.sinks import LocalSink, Reported, open_sink
from tests.ports import find_port
from tests.processes.agents import PNG, AgentProcess
from tests.waiting import wait_until

REFUSED = Reported(
    status=422,
    content_type="application/problem+json",
    body='{"type": "urn:eaves:problem:image", "detail": "not an image"}',
)


@pytest.fixture
def function() -> Iterator[LocalSink]:
    """Predicts every image but bad.png."""

    def decide(event: Event) -> Reported:
        return REFUSED if event.subject == "bad.png" else Reported(status=200, echo=True)

    with open_sink() as opened:
        opened.decide = decide
        yield opened


@pytest.fixture
def agent(tmp_path: Path, function: LocalSink) -> Iterator[AgentProcess]:
    """An agent whose broker is gone."""
    made = AgentProcess(tmp_path, f"http://127.0.0.1:{find_port()}/", EAVES_FUNCTION_URL=function.url)
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture
def stuck(agent: AgentProcess) -> AgentProcess:
    """The same with one refused image, and the prediction of another that waits for the broker."""
    agent.start()
    (agent.inbox / "good.png").write_bytes(PNG)
    (agent.inbox / "bad.png").write_bytes(PNG + b"bad")
    wait_until(lambda: agent.lane("sink").get("dead") == 1, 30, what="the refused image")
    wait_until(lambda: agent.lane("replies").get("queued") == 2, 30, what="the prediction and the refusal")
    wait_until(lambda: agent.lane("replies").get("paused"), 30, what="the prediction that waits")
    return agent


def test_what_waits_and_why_is_seen_in_the_queue_and_in_metrics(stuck: AgentProcess):
    assert stat.S_IMODE(stuck.socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(stuck.socket.parent.stat().st_mode) == 0o700
    *waiting, dead = sorted(stuck.ask_queue("list"), key=lambda entry: entry["state"], reverse=True)
    assert {(one["lane"], one["subject"]) for one in waiting} == {("replies", "good.png"), ("replies", "bad.png")}, (
        "a prediction, and the event that tells of the refusal"
    )
    assert (dead["lane"], dead["subject"], dead["status"]) == ("sink", "bad.png", 422)
    assert "not an image" in dead["reason"]
    shown = stuck.ask_queue("show", seqs=[dead["seq"]])
    assert base64.b64decode(shown["data"]) == PNG + b"bad"
    assert shown["attributes"]["source"] == "/eaves/test/cam"
    assert stuck.ask_queue("list", older_than_s=3600) == []
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(stuck.get("/metrics")[1])
        for sample in family.samples
    }

    def value(name: str, **labels: str) -> float:
        return samples[name, tuple(sorted(labels.items()))]

    assert value("eaves_queue_entries", lane="replies") == 2
    assert value("eaves_queue_bytes", lane="replies") > len(PNG)
    assert 0 <= value("eaves_queue_oldest_age_seconds", lane="replies") < 60
    assert value("eaves_dead_letters", lane="sink") == 1
    assert value("eaves_deliveries_total", lane="sink", outcome="delivered") == 1
    assert value("eaves_deliveries_total", lane="sink", outcome="dead") == 1
    assert value("eaves_lane_paused", lane="replies", reason="no_answer") == 1
    assert value("eaves_lane_paused", lane="sink", reason="") == 0
    assert value("eaves_captured_total", source="cam") == 2
    assert value("eaves_source_state", source="cam", state="watching") == 1
    assert 0 <= value("eaves_source_last_image_age_seconds", source="cam") < 60
    assert value("eaves_spool_max_bytes") == 1_000_000_000


@pytest.mark.long("an agent is started again, and a refused image is sent again after a pause")
def test_a_refused_image_is_retried_once_the_function_takes_it(stuck: AgentProcess, function: LocalSink):
    stuck.stop()
    assert not stuck.socket.exists()
    assert [entry["subject"] for entry in stuck.ask_queue("list", state="dead")] == ["bad.png"], "the file is read"
    stuck.start()
    function.decide = lambda _: Reported(status=200, echo=True)
    assert stuck.ask_queue("retry", state="dead")["entries"] == 1
    wait_until(lambda: stuck.lane("replies").get("queued") == 3, 30, what="its prediction")
    assert stuck.lane("sink").get("dead", 0) == 0


@pytest.mark.long("the agent looks for its folder every few seconds")
def test_dead_letters_are_dropped_and_lanes_purged_and_only_a_dead_part_ends_the_process(stuck: AgentProcess):
    counted = stuck.ask_queue("drop", all=True, dry_run=True)
    assert counted["entries"] == 1
    assert counted["size_bytes"] > len(PNG)
    assert stuck.lane("sink")["dead"] == 1
    assert stuck.ask_queue("drop", reason="something else") == {"entries": 0, "size_bytes": 0}
    assert stuck.ask_queue("drop", reason="not an image")["entries"] == 1
    assert stuck.lane("sink")["dead"] == 0
    refused = stuck.run_queue("purge")
    assert refused.returncode == 65
    assert "no entries are selected" in refused.stderr
    status, body = stuck.get("/health")
    assert status == 503
    (reason,) = json.loads(body)["reasons"]
    assert reason.startswith("lane replies is paused: no connection to http://127.0.0.1:")
    shutil.rmtree(stuck.inbox)
    wait_until(lambda: len(json.loads(stuck.get("/health")[1])["reasons"]) == 2, 30, what="the missing folder")
    assert stuck.get("/health/liveness") == (200, '{"status": "ok", "reasons": []}')
    assert stuck.ask_queue("purge", lane="replies")["entries"] == 2
    assert stuck.ask_queue("list") == []


def test_an_agent_without_a_sink_captures_and_says_what_it_waits_for(tmp_path: Path, function: LocalSink):
    """Knative takes K_SINK from the pod while there is no Broker."""
    with AgentProcess(tmp_path, "", EAVES_FUNCTION_URL=function.url) as made:
        (made.inbox / "good.png").write_bytes(PNG)
        wait_until(lambda: made.lane("replies").get("paused"), 30, what="the prediction that waits")
        assert made.lane("replies")["queued"] == 1
        assert "K_SINK is not set" in made.lane("replies")["reason"]
