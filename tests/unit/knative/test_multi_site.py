"""One operation on many sites."""

import threading

import pytest

from knative.multi_site import DONE, SiteOutcome, run_on_sites
from knative.settings import SiteSettings
from tests.waiting import wait_until


def sites(count: int) -> list[SiteSettings]:
    return [SiteSettings(name=f"s{number}") for number in range(count)]


def test_a_site_in_work_may_still_be_done_after_ctrl_c():
    def operation(site: SiteSettings) -> str:
        if site.name == "s1":
            interrupted.wait(30)
        return site.name

    def interrupt(outcome: SiteOutcome[str]) -> None:
        interrupted.set()
        raise KeyboardInterrupt

    interrupted = threading.Event()
    outcomes = run_on_sites(sites(2), operation, parallel=2, show=interrupt, grace_s=30)
    assert [outcome.state for outcome in outcomes] == [DONE, DONE]


def test_any_other_end_begins_no_other_site_either():
    begun: list[str] = []

    def work(site: SiteSettings) -> None:
        begun.append(site.name)
        if len(begun) > 1:
            ended.wait(30)

    def end(outcome: SiteOutcome[None]) -> None:
        raise SystemExit(143)

    ended = threading.Event()
    with pytest.raises(SystemExit):
        run_on_sites(sites(50), work, parallel=1, show=end)
    ended.set()
    wait_until(lambda: not [one for one in threading.enumerate() if one.name.startswith("site-")], what="no threads")
    assert len(begun) <= 2
