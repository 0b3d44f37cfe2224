"""The link as `eaves status` and `eaves deploy` show it, and a site that gets another name while its relay is full."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from eaves.admin.report import LinkReport
from eaves.admin.summary import AgentStatus
from eaves.cli.link import describe_link, wait_for_link, warn_of_waiting
from eaves.events import IMAGE_CLASSIFIED, Event
from eaves.local.specs import LocalApp, LocalFunction
from eaves.local.state import StateDirectory
from eaves.platform import RELAY, FunctionStatus, RelaySpec
from eaves.relay.relay_lanes import ARCHIVE
from eaves.spool import Spool

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
        (UP, "link up for 2 h; nothing waits"),
        (DRAINING, "link up for 2 h; 4,210 events (3.2 MB) wait, oldest 11 min, 35/s, drained in 2 min"),
        (
            LinkReport(to=TO, state="refused", since_age_s=180.0, reason="set site: mill", backlog_events=1),
            "link refused for 3 min: set site: mill; 1 event (0 B) waits",
        ),
        (LinkReport(to=TO, state="starting"), "link not tried yet; nothing waits"),
        (
            replace(UP, since_age_s=3.0, reason="disk full"),
            "link up for 3 s, but forwarding is paused (disk full); nothing waits",
        ),
    ],
)
def test_a_link_is_a_sentence_that_says_what_somebody_waits_for(link: LinkReport, sentence: str) -> None:
    assert describe_link(link) == sentence


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
    sentence = describe_link(replace(DOWN, reason=reason))
    assert sentence == f"link down for 1 min ({reported}); 20 events (17.6 kB) wait, oldest 1 min"


class Starting:
    """A platform whose relay has been asked so often before its first probe is over."""

    def __init__(self, *links: LinkReport | None) -> None:
        self.links = list(links)

    def status(self) -> list[FunctionStatus]:
        link = self.links.pop(0) if len(self.links) > 1 else self.links[0]
        relays = (AgentStatus(name="flowers"), AgentStatus(name="flowers.relay", link=link))
        return [FunctionStatus(name="flowers", state="ready", agents=relays)]


def test_the_first_probe_is_waited_for() -> None:
    assert wait_for_link(Starting(None, LinkReport(to=TO, state="starting"), UP), "flowers") == "up"
    down = replace(DOWN, reason=f"no connection to {TO}/v1/site: it can't be reached: connection refused")
    assert wait_for_link(Starting(down), "flowers") == "down, connection refused"
    assert "`eaves status`" in wait_for_link(Starting(None), "flowers", wait_s=0.2)


APP = LocalApp(
    function=LocalFunction(name="flowers", site="home", artifact=Path("/a")),
    relay=RelaySpec(to="https://cloud.example:8443"),
)
RENAMED = replace(APP, function=replace(APP.function, site="mill"))


def test_events_that_wait_under_the_former_name_are_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = StateDirectory(root=tmp_path / "s")
    warn_of_waiting(state.root, RENAMED)
    state.write_spec(APP)
    warn_of_waiting(state.root, RENAMED)
    with Spool(state.spool_of("flowers", RELAY)) as spool:
        warn_of_waiting(state.root, APP)
        spool.put(Event(id="1", source="/eaves/home/flowers", type=IMAGE_CLASSIFIED), lanes=[ARCHIVE])
    warn_of_waiting(state.root, APP)
    assert capsys.readouterr().err == ""
    warn_of_waiting(state.root, RENAMED)
    reported = capsys.readouterr().err
    assert "warning: the relay holds 1 event of site home; the receiver refuses them from site mill" in reported
    assert "deploy with `site: home` and the token of home" in reported
