"""The link as `eaves status` shows it: in words that say what somebody waits for."""

from __future__ import annotations

from eaves.admin.report import LinkReport
from eaves.cli.relay.link_rows import build_row, describe_size


def test_a_link_that_is_up_with_nothing_to_send() -> None:
    link = LinkReport(to="https://cloud:8443", up=True, state="up", since_age_s=7_300.0)
    assert build_row("flowers.relay", link) == {
        "relay": "flowers.relay",
        "link": "up",
        "since": "2 h",
        "backlog": 0,
        "size": "0 B",
        "oldest": "",
        "rate": "",
        "drained": "",
        "to": "https://cloud:8443",
        "reason": "",
    }


def test_a_link_that_drains_says_when_it_is_done() -> None:
    link = LinkReport(
        to="https://cloud",
        up=True,
        state="up",
        since_age_s=30.0,
        events_per_s=812.34,
        bytes_per_s=125_000.0,
        backlog_events=100_000,
        backlog_bytes=61_200_000,
        oldest_age_s=600.0,
        drain_s=123.0,
    )
    row = build_row("flowers.relay", link)
    assert (row["size"], row["oldest"], row["rate"], row["drained"]) == (
        "61.2 MB",
        "10 min",
        "812.3/s, 125.0 kB/s",
        "2 min",
    )


def test_a_link_that_is_down_says_why_and_what_waits() -> None:
    link = LinkReport(
        to="https://cloud",
        state="down",
        since_age_s=3.0,
        reason="no answer",
        backlog_events=5,
        backlog_bytes=512,
        drain_s=4.0,
    )
    row = build_row("flowers.relay", link)
    assert (row["link"], row["reason"], row["drained"], row["size"]) == (
        "down",
        "no answer",
        "4 s once it is up",
        "512 B",
    )
    unknown = build_row("flowers.relay", LinkReport(to="https://cloud", state="down", backlog_events=5))
    assert unknown["drained"] == "not known"


def test_sizes_are_in_their_largest_unit() -> None:
    assert [describe_size(size) for size in (0, 999, 1_000, 999_949, 2.5e9)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "999.9 kB",
        "2.5 GB",
    ]
