"""The link as `eaves status` shows it."""

from dataclasses import replace

import pytest

from eaves.admin.report import LinkReport
from eaves.cli.link import describe_link

TO = "https://cloud:8443"
UP = LinkReport(to=TO, up=True, state="up", since_age_s=7_300.0)
DOWN = LinkReport(
    to=TO, state="down", since_age_s=62.0, backlog_events=20, backlog_bytes=17_600, oldest_age_s=61.0,
    events_per_s=12.0, drain_s=4.0,
)  # fmt: skip
DRAINING = replace(
    UP, events_per_s=35.34, bytes_per_s=125_000.0, backlog_events=4_210, backlog_bytes=3_210_000, oldest_age_s=660.0,
    drain_s=123.0,
)  # fmt: skip


@pytest.mark.parametrize(
    ("link", "sentence"),
    [
        (DRAINING, "link up for 2 h; 4,210 events (3.2 MB) wait, oldest 11 min, drained in 2 min"),
        (
            LinkReport(to=TO, state="refused", since_age_s=180.0, reason="set site: mill", backlog_events=1),
            "link refused for 3 min: set site: mill; 1 event (0 bytes) waits",
        ),
        (
            replace(UP, since_age_s=3.0, reason="disk full"),
            "link up for 3 s, but forwarding is paused (disk full); nothing waits",
        ),
    ],
)
def test_a_link_is_a_sentence_that_says_what_somebody_waits_for(link: LinkReport, sentence: str):
    assert describe_link(link) == sentence


def test_a_link_that_is_down_says_why_and_what_waits_and_no_rate():
    sentence = describe_link(replace(DOWN, reason="connection refused"))
    assert sentence == "link down for 1 min (connection refused); 20 events (17.6 kB) wait, oldest 1 min"
