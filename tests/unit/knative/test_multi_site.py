"""One operation on many sites."""

from __future__ import annotations

import threading

import pytest

from eaves.errors import InvalidError, UnreachableClusterError
from knative.multi_site import DONE, FAILED, SKIPPED, STOPPED, UNREACHABLE, SiteOutcome, run_on_sites
from knative.settings import SiteSettings
from tests.waiting import wait_until


def sites(count: int, *, waves: int = 1) -> list[SiteSettings]:
    return [SiteSettings(name=f"s{number}", wave=1 + number % waves) for number in range(count)]


def test_every_site_has_an_outcome_in_the_order_asked() -> None:
    outcomes = run_on_sites(sites(50), lambda site: site.name.upper(), parallel=7)
    assert [outcome.result for outcome in outcomes] == [f"S{number}" for number in range(50)]
    assert {outcome.state for outcome in outcomes} == {DONE}


def test_a_site_that_cannot_be_reached_spends_no_budget_and_holds_up_nobody() -> None:
    def operation(site: SiteSettings) -> None:
        if int(site.name[1:]) < 10:
            raise UnreachableClusterError("no answer")

    outcomes = run_on_sites(sites(20), operation, parallel=1, max_failures=0)
    assert [outcome.state for outcome in outcomes] == [UNREACHABLE] * 10 + [DONE] * 10


def test_more_failures_than_the_budget_begin_no_other_site() -> None:
    def operation(site: SiteSettings) -> None:
        raise InvalidError(f"{site.name} refuses")

    outcomes = run_on_sites(sites(10), operation, parallel=1, max_failures=2)
    assert [outcome.state for outcome in outcomes] == [FAILED] * 3 + [SKIPPED] * 7


def test_a_wave_begins_when_the_one_before_is_over() -> None:
    running: set[int] = set()
    lock, mixed = threading.Lock(), []

    def operation(site: SiteSettings) -> None:
        with lock:
            running.add(site.wave)
            mixed.append(len(running) > 1)
        with lock:
            running.discard(site.wave)

    outcomes = run_on_sites(sites(40, waves=4), operation, parallel=8)
    assert not any(mixed)
    assert len(outcomes) == 40


def test_no_more_sites_than_allowed_are_in_work_at_once() -> None:
    inside, most, lock = 0, 0, threading.Lock()
    together = threading.Barrier(4, timeout=10)

    def operation(site: SiteSettings) -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        together.wait()
        with lock:
            inside -= 1

    run_on_sites(sites(16), operation, parallel=4)
    assert most == 4


def test_a_defect_at_one_site_is_that_sites_outcome(caplog: pytest.LogCaptureFixture) -> None:
    def operation(site: SiteSettings) -> int:
        return 1 // int(site.name[1:])

    first, second = run_on_sites(sites(2), operation)
    assert (first.state, second.state) == (FAILED, DONE)
    assert "ZeroDivisionError" in str(first.error)
    assert "ZeroDivisionError" in caplog.text


def test_outcomes_are_shown_as_they_come() -> None:
    shown: list[SiteOutcome[None]] = []
    run_on_sites(sites(5), lambda site: None, show=shown.append)
    assert len(shown) == 5


def test_ctrl_c_begins_no_other_site_and_tells_what_was_done() -> None:
    begun: list[str] = []
    hold = threading.Event()

    def operation(site: SiteSettings) -> str:
        begun.append(site.name)
        if site.name != "s0":
            hold.wait(30)
        return site.name

    def interrupt(outcome: SiteOutcome[str]) -> None:
        raise KeyboardInterrupt

    outcomes = run_on_sites(sites(10, waves=2), operation, parallel=2, show=interrupt, grace_s=0.2)
    hold.set()
    assert (outcomes[0].state, outcomes[0].result) == (DONE, "s0")
    assert {outcome.state for outcome in outcomes[1:]} == {STOPPED}
    assert set(begun) <= {"s0", "s2", "s4"}, "the other wave never begins"


def test_a_site_in_work_may_still_be_done_after_ctrl_c() -> None:
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


def test_any_other_end_begins_no_other_site_either() -> None:
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
