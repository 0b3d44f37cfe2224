"""What `eaves deploy` says of the link: the relay's first probe is waited for."""

from __future__ import annotations

from eaves.admin.report import LinkReport
from eaves.admin.summary import AgentStatus
from eaves.cli.link.link_status import wait_for_link
from eaves.platform import FunctionStatus

TO = "https://cloud:8443"


class Starting:
    """A platform whose relay has been asked so often before its first probe is over."""

    def __init__(self, *links: LinkReport | None) -> None:
        self.links = list(links)

    def status(self) -> list[FunctionStatus]:
        link = self.links.pop(0) if len(self.links) > 1 else self.links[0]
        relays = (AgentStatus(name="flowers"), AgentStatus(name="flowers.relay", link=link))
        return [FunctionStatus(name="flowers", state="ready", agents=relays)]


def test_the_first_probe_is_waited_for() -> None:
    up = LinkReport(to=TO, up=True, state="up")
    assert wait_for_link(Starting(None, LinkReport(to=TO, state="starting"), up), "flowers") == "up"


def test_a_link_that_is_down_says_why() -> None:
    reason = f"no connection to {TO}/v1/site: it can't be reached: connection refused"
    link = LinkReport(to=TO, state="down", reason=reason)
    assert wait_for_link(Starting(link), "flowers") == "down, connection refused"


def test_a_relay_that_says_nothing_holds_nobody_up() -> None:
    assert "`eaves status`" in wait_for_link(Starting(None), "flowers", wait_s=0.2)
