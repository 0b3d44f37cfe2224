"""A queue's report: read again by other versions, as metrics, as reasons, in short."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from eaves.admin.metrics import list_faults, render_metrics
from eaves.admin.report import LaneReport, LinkReport, QueueReport, SourceReport, build_report, parse_report
from eaves.admin.summary import LanePause, summarize
from eaves.delivery import LaneDelivery
from eaves.spool import Spool
from tests.fakes.clock import ManualClock

REPORT = QueueReport(
    queued_bytes=10,
    max_bytes=100,
    expired=3,
    lanes=(
        LaneReport(lane="replies", queued=2, oldest_age_s=7.0, delivering=True, attempts={"delivered": 5}),
        LaneReport(
            lane='si"nk\n', dead=1, delivering=True, paused=True, reason="answered 503: x", status=503, paused_since=9.0
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


def test_it_comes_back_from_json_with_what_another_version_added_left_out() -> None:
    report = replace(REPORT, link=LINK)
    values = json.loads(json.dumps(report.to_dict()))
    values["lanes"][0]["added"] = values["sources"][0]["added"] = values["link"]["added"] = values["added"] = 1
    assert parse_report(values) == report


def test_metrics_of_a_link_leave_out_what_is_not_known() -> None:
    found = samples(replace(REPORT, link=LINK))
    assert found["eaves_link_up"] == {(): 1}
    assert found["eaves_link_state"] == {
        (("state", state),): float(state == "up") for state in ("starting", "up", "down", "refused")
    }
    assert found["eaves_link_events_per_second"] == {(): 12.5}
    assert "eaves_link_drain_seconds" not in found
    assert found["eaves_link_forwarded_total"] == {(): 40}
    assert not any(name.startswith("eaves_link") for name in samples(REPORT))


@pytest.mark.parametrize("values", [{}, {"lanes": [{}]}, {"lanes": [], "sources": [7]}])
def test_what_is_no_report_is_said_so(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="not a valid queue report"):
        parse_report(values)


def test_metrics_can_be_parsed_whatever_lanes_are_called() -> None:
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


def test_faults_are_pauses_and_a_source_that_captures_nothing() -> None:
    assert list_faults(REPORT) == [
        'lane si"nk\n is paused: answered 503: x',
        "source cam is waiting: /images is not there",
    ]
    assert list_faults(QueueReport()) == []


def test_in_short_it_is_an_agents_status() -> None:
    status = summarize("digits", REPORT, pod="p")
    assert (status.name, status.pod, status.state, status.queued, status.dead) == ("digits", "p", "running", 3, 1)
    assert status.sources == REPORT.sources
    assert status.oldest_age_s == 70.0
    assert status.pauses == (LanePause(lane='si"nk\n', reason="answered 503: x", since=9.0),)


def test_a_lane_that_holds_nothing_but_is_delivered_is_reported(tmp_path: Path) -> None:
    delivery = LaneDelivery(lane="sink", paused=True, reason="no connection", since=5.0, attempts={"retried": 1})
    with Spool(tmp_path / "spool.db", clock=ManualClock()) as spool:
        (lane,) = build_report(spool, [delivery], [], 0.0).lanes
    assert (lane.lane, lane.queued, lane.delivering, lane.paused, lane.paused_since) == ("sink", 0, True, True, 5.0)
    assert lane.attempts == {"retried": 1}
