"""A queue's report: read again by other versions, as metrics, as reasons, in short."""

import json
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from eaves.admin.metrics import render_metrics
from eaves.admin.report import (
    LaneReport,
    LinkReport,
    QueueReport,
    SourceReport,
    describe_silent,
    from_json,
    list_faults,
    to_json,
)
from eaves.base.process_usage import ProcessUsage
from eaves.platform import FunctionStatus, PartStatus, ServedStatus
from eaves.spool.outcomes import RevisionOutcomes
from eaves.spool.score_shift import ScoreWindow

REPORT = QueueReport(
    queued_bytes=10,
    max_bytes=100,
    expired=3,
    lanes=(
        LaneReport(lane="replies", queued=2, oldest_age_s=7.0, delivering=True, attempts={"delivered": 5}),
        LaneReport(
            lane='si"nk\n', dead=1, delivering=True, paused=True, reason="answered 503: x", status=503, since=9.0
        ),
        LaneReport(lane="left over", queued=1, oldest_age_s=70.0),
    ),
    sources=(
        SourceReport(
            name="cam", state="waiting", reason="/images is not there", captured=4, dropped={"too large": 1, "": 2}
        ),
        SourceReport(name="gate", state="watching", reconnects=3, last_error="gone", last_error_age_s=60.0),
    ),
)


LINK = LinkReport(
    to="https://cloud:8443",
    up=True,
    state="up",
    since=9.0,
    since_age_s=60.0,
    events_per_s=12.5,
    backlog_events=3,
    oldest_age_s=7.0,
    forwarded=40,
    refused=2,
)


def samples(report: QueueReport) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(render_metrics(report)):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def test_the_tree_comes_back_from_json_with_what_another_version_added_left_out():
    report = replace(REPORT, link=LINK)
    status = FunctionStatus(
        name="f", state="ready", agents=(report,), lanes=report.lanes, parts=(PartStatus(kind="Trigger", name="f"),),
        serving=(ServedStatus(revision="f-1", percent=100),),
    )  # fmt: skip
    values = json.loads(json.dumps(to_json(status)))
    assert (values["traffic"], values["agents"][0]["queued"]) == (["f-1 100 %"], 3)
    for one in (values, values["agents"][0], values["lanes"][0], values["agents"][0]["link"]):
        one["added"] = 1
    assert from_json(FunctionStatus, values) == status


def test_metrics_tell_what_the_process_uses_and_what_its_requests_came_to():
    outcomes = (RevisionOutcomes(revision="f-1", answered=7, refused=1),)
    found = samples(replace(REPORT, usage=ProcessUsage(cpu_s=2.5, memory_bytes=3), outcomes=outcomes))
    assert found["process_cpu_seconds_total"] == {(): 2.5}
    assert found["process_resident_memory_bytes"] == {(): 3}
    assert found["eaves_outcomes_total"][("outcome", "answered"), ("revision", "f-1")] == 7
    assert "process_cpu_seconds_total" not in samples(REPORT)


def test_a_metric_tells_for_each_source_whether_its_scores_have_shifted():
    well = ScoreWindow(artifact="sha256:aa", source="/eaves/mill/gate", counted=3)
    shifted = ScoreWindow(artifact="sha256:aa", source="/eaves/mill/door", since=9.0)
    report = replace(REPORT, windows=(well, shifted))
    assert report.shifts == (shifted,)
    assert from_json(QueueReport, json.loads(json.dumps(to_json(report)))) == report
    assert samples(report)["eaves_scores_shifted"] == {
        (("artifact", "sha256:aa"), ("source", "gate")): 0,
        (("artifact", "sha256:aa"), ("source", "door")): 1,
    }
    assert "eaves_scores_shifted" not in samples(REPORT)


def test_metrics_of_a_link_leave_out_what_is_not_known():
    found = samples(replace(REPORT, link=LINK))
    assert found["eaves_link_up"] == {(): 1}
    assert found["eaves_link_state"] == {
        (("state", state),): float(state == "up") for state in ("starting", "up", "down", "refused")
    }
    assert found["eaves_link_events_per_second"] == {(): 12.5}
    assert "eaves_link_drain_seconds" not in found
    assert found["eaves_link_forwarded_total"] == {(): 40}
    assert not any(name.startswith("eaves_link") for name in samples(REPORT))


@pytest.mark.parametrize(
    "values",
    [
        [],
        {"lanes": [{}]},
        {"sources": [7]},
        {"lanes": {"lane": "a"}},
        {"expired": "3"},
        {"expired": True},
        {"lanes": [{"lane": "a", "oldest_age_s": float("nan")}]},
        {"lanes": [{"lane": "a", "oldest_age_s": 10**400}]},
        {"lanes": [{"lane": "a", "attempts": {"dead": None}}]},
    ],
)
def test_what_is_no_report_is_refused(values: object):
    with pytest.raises(ValueError, match=r"expected, got|needs lane"):
        from_json(QueueReport, values)


def test_metrics_can_be_parsed_whatever_lanes_are_called():
    found = samples(REPORT)
    assert found["eaves_queue_entries"][("lane", "replies"),] == 2
    assert found["eaves_dead_letters"][("lane", 'si"nk\n'),] == 1
    assert found["eaves_queue_oldest_age_seconds"][("lane", 'si"nk\n'),] == 0
    assert found["eaves_deliveries_total"][("lane", "replies"), ("outcome", "delivered")] == 5
    assert found["eaves_deliveries_total"][("lane", "replies"), ("outcome", "dead")] == 0
    assert found["eaves_lane_paused"] == {
        (("lane", "replies"), ("reason", "")): 0,
        (("lane", 'si"nk\n'), ("reason", "503")): 1,
    }
    assert found["eaves_dropped_total"][("cause", "too large"), ("source", "cam")] == 1
    assert found["eaves_dead_letters_expired_total"][()] == 3
    assert found["eaves_source_reconnects_last_hour"] == {(("source", "cam"),): 0, (("source", "gate"),): 3}
    assert found["eaves_source_last_error_age_seconds"] == {(("source", "gate"),): 60}
    assert "eaves_source_last_image_age_seconds" not in found, "there was no image yet"


def test_faults_are_pauses_and_a_source_that_captures_nothing():
    assert list_faults(REPORT) == [
        'lane si"nk\n is paused: answered 503: x',
        "lane left over holds 1 events, and nothing delivers them",
        "source cam is waiting: /images is not there",
    ]
    assert list_faults(QueueReport()) == []


def test_a_link_that_is_down_says_its_reason_once():
    expired = "certificate has expired"
    lanes = [LaneReport(lane=lane, delivering=True, paused=True, reason=expired) for lane in ("alarms", "archive")]
    broker = LaneReport(lane="broker", delivering=True, paused=True, reason="no connection")
    report = QueueReport(lanes=(*lanes, broker), link=LinkReport(to="c", state="down", reason=expired))
    assert list_faults(report) == [f"the link to c is down: {expired}", "lane broker is paused: no connection"]
    assert report.pauses == (broker,)


def test_its_sums_are_those_of_its_lanes_and_unknown_for_a_process_that_does_not_answer():
    assert (REPORT.queued, REPORT.dead, REPORT.oldest_age_s) == (3, 1, 70.0)
    silent = describe_silent("digits", ["cam"], state="stopped")
    assert (silent.queued, silent.dead, silent.oldest_age_s) == (None, None, None)
    assert [(source.name, source.state) for source in silent.sources] == [("cam", "stopped")]
