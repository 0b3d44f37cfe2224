"""The link as `eaves status` shows it: a sentence that says what somebody waits for."""

from __future__ import annotations

import pytest

from eaves.admin.report import LinkReport
from eaves.cli.link.link_status import describe_link, describe_size

TO = "https://cloud:8443"


def test_a_link_that_is_up_with_nothing_to_send() -> None:
    link = LinkReport(to=TO, up=True, state="up", since_age_s=7_300.0)
    assert describe_link(link) == "link up for 2 h; nothing waits"


def test_a_link_that_drains_says_when_it_is_done() -> None:
    link = LinkReport(
        to=TO,
        up=True,
        state="up",
        since_age_s=7_300.0,
        events_per_s=35.34,
        bytes_per_s=125_000.0,
        backlog_events=4_210,
        backlog_bytes=3_210_000,
        oldest_age_s=660.0,
        drain_s=123.0,
    )
    assert describe_link(link) == ("link up for 2 h; 4,210 events (3.2 MB) wait, oldest 11 min, 35/s, drained in 2 min")


@pytest.mark.parametrize(
    ("reason", "reported"),
    [
        (f"no connection to {TO}/v1/site: it can't be reached: connection refused", "connection refused"),
        (f"no answer from {TO} within 5 s", "no answer within 5 s"),
        (f"no connection to {TO}/v1/site: TLS failed: wrong version", "TLS failed: wrong version"),
        (f"GET {TO}/v1/site answered 502: bad gateway", "answered 502: bad gateway"),
        ("something else", "something else"),
    ],
)
def test_a_link_that_is_down_says_why_and_what_waits_and_no_rate(reason: str, reported: str) -> None:
    link = LinkReport(
        to=TO,
        state="down",
        since_age_s=62.0,
        reason=reason,
        backlog_events=20,
        backlog_bytes=17_600,
        oldest_age_s=61.0,
        events_per_s=12.0,
        drain_s=4.0,
    )
    assert describe_link(link) == f"link down for 1 min ({reported}); 20 events (17.6 kB) wait, oldest 1 min"


def test_a_refused_link_and_one_that_was_not_tried() -> None:
    refused = LinkReport(to=TO, state="refused", since_age_s=180.0, reason="set site: mill", backlog_events=1)
    assert describe_link(refused) == "link refused for 3 min: set site: mill; 1 event (0 B) waits"
    assert describe_link(LinkReport(to=TO, state="starting")) == "link not tried yet; nothing waits"
    held = LinkReport(to=TO, up=True, state="up", since_age_s=3.0, reason="disk full")
    assert describe_link(held) == "link up for 3 s, but forwarding is paused (disk full); nothing waits"


def test_sizes_are_in_their_largest_unit() -> None:
    assert [describe_size(size) for size in (0, 999, 1_000, 999_949, 2.5e9)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "999.9 kB",
        "2.5 GB",
    ]
