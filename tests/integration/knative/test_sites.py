"""One command for many sites, of which some are down: the others are done, those are named, and later they follow."""

from __future__ import annotations

import re
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from eaves.errors import FleetError
from tests.cluster.sites import IMAGE, Sites, open_sites, some_down
from tests.fakes.kubernetes.apiserver import Request
from tests.waiting import wait_until

FIRST, SECOND = "flowers-00001", "flowers-00002"


@pytest.fixture
def twenty(tmp_path: Path) -> Iterator[Sites]:
    with open_sites(tmp_path, 20) as sites:
        yield sites


@pytest.fixture
def eight(tmp_path: Path) -> Iterator[Sites]:
    with open_sites(tmp_path, 8) as sites:
        yield sites


def states(table: str) -> Counter[str]:
    """Return the states of the sites in a table."""
    return Counter(line.split()[1] for line in table.splitlines() if re.match(r" *s\d{3} ", line))


@pytest.mark.parametrize("count", [40, pytest.param(200, marks=pytest.mark.slow)])
def test_many_sites_with_a_tenth_down(tmp_path: Path, count: int) -> None:
    refusing, hanging, forbidding = (count * part // 200 for part in (8, 6, 6))
    with open_sites(tmp_path, count) as sites:
        with some_down(sites, refusing=refusing, hanging=hanging, forbidding=forbidding, slow=count // 20) as down:
            process = sites.start("deploy", IMAGE, "--offline", "--all")
            output, said = process.communicate(timeout=110)
        done, unreachable = count - down, refusing + hanging
        assert process.returncode == 69, said
        assert "Traceback" not in said
        assert f"of {count} sites: {done} done, {unreachable} unreachable, {forbidding} failed" in said
        left = sites.names[:down]
        assert sites.deployed() == sites.names[down:]
        assert f"try: eaves reconcile --site {','.join(left)}" in said
        assert sum(sites.served(name) == {FIRST: 100} for name in sites.deployed()) == done
        assert states(output) == {"done": done, "unreachable": unreachable, "failed": forbidding}
        process = sites.start("reconcile", "--site", ",".join(left))
        _, said = process.communicate(timeout=60)
        assert (process.returncode, sites.deployed()) == (0, sites.names), said
        assert f"{down} done of {down} sites" in said


def test_a_wave_begins_when_the_one_before_is_over(twenty: Sites) -> None:
    waves = {name: 1 + number // 5 for number, name in enumerate(twenty.names)}
    twenty.write_project(waves=waves)
    order: list[int] = []
    for name, one in twenty.clusters.items():
        one.on_apply(lambda manifest, wave=waves[name]: order.append(wave))  # type: ignore[misc]
    assert twenty.run("deploy", IMAGE, "--offline", "--all").exit_code == 0
    assert order == sorted(order)


def test_failures_beyond_the_budget_begin_no_other_site(twenty: Sites) -> None:
    twenty.write_project(waves={name: 1 if number < 6 else 2 for number, name in enumerate(twenty.names)})
    with some_down(twenty, refusing=3, forbidding=3):
        result = twenty.run("deploy", IMAGE, "--offline", "--all", "--max-failures", "2")
    assert isinstance(result.exception, FleetError)
    assert states(result.stdout) == {"unreachable": 3, "failed": 3, "skipped": 14}
    assert "not started, because too many other sites failed" in result.stdout
    assert twenty.deployed() == []


def test_no_more_sites_than_allowed_are_in_work_at_once(twenty: Sites) -> None:
    inside: set[str] = set()
    done: set[str] = set()
    most = 0
    for name, one in twenty.clusters.items():

        def note(request: Request, name: str = name) -> None:
            nonlocal most
            if name not in done:
                inside.add(name)
            most = max(most, len(inside))
            if request.method == "PATCH" and request.query["fieldManager"] == "eaves-rollout":
                inside.discard(name)  # the last change that a deploy makes
                done.add(name)

        one.fault = note
    assert twenty.run("deploy", IMAGE, "--offline", "--all", "--parallel", "3").exit_code == 0
    assert most == 3


def test_ctrl_c_ends_it_soon_says_what_was_done_and_the_same_command_continues(twenty: Sites) -> None:
    for one in twenty.clusters.values():
        one.delay_s = 0.05
    process = twenty.start("deploy", IMAGE, "--offline", "--all", "--parallel", "4")
    wait_until(lambda: len(twenty.deployed()) >= 5, 60, what="the fifth site, which begins after another one is done")
    process.send_signal(signal.SIGINT)
    output, said = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGINT, said
    assert "Traceback" not in said
    assert "stopped" in said.splitlines()[-2]
    assert said.splitlines()[-1].startswith("try: eaves reconcile --site s0")
    counts = states(output)
    assert counts["done"] >= 1
    assert counts["stopped"] >= 12
    assert counts["done"] + counts["stopped"] == 20
    for one in twenty.clusters.values():
        one.delay_s = 0
    assert twenty.run("reconcile", "--all").exit_code == 0
    assert twenty.deployed() == twenty.names


def test_status_of_all_of_them_names_those_that_are_silent(twenty: Sites) -> None:
    twenty.run("deploy", IMAGE, "--offline", "--all")
    with some_down(twenty, refusing=2, forbidding=1):
        result = twenty.run("status", "--all")
    assert isinstance(result.exception, FleetError)
    assert result.exception.message == "of 20 sites: 17 done, 2 unreachable, 1 failed"
    assert result.exception.hint == "eaves doctor --site s000,s001,s002"
    rows = [line.split() for line in result.stdout.splitlines() if line.strip().startswith("s0")]
    assert Counter(row[1] for row in rows) == {"flowers": 17, "unreachable": 2, "failed": 1}
