"""One command for many sites, of which some are down: the others are done, those are named, and later they follow."""

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
def ten(tmp_path: Path) -> Iterator[Sites]:
    with open_sites(tmp_path, 10) as sites:
        yield sites


def states(table: str) -> Counter[str]:
    """Return the states of the sites in a table."""
    return Counter(line.split()[1] for line in table.splitlines() if re.match(r" *s\d{3} ", line))


@pytest.mark.parametrize("count", [12, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.long("commands run against many simulated sites")
def test_many_sites_with_a_tenth_down(tmp_path: Path, count: int):
    """None of the few sites hangs: each that does costs the ten seconds in which a site must answer."""
    refusing, hanging, forbidding = max(1, count // 25), count * 6 // 200, max(1, count * 6 // 200)
    slow = max(1, count // 20)
    with open_sites(tmp_path, count) as sites:
        with some_down(sites, refusing=refusing, hanging=hanging, forbidding=forbidding, slow=slow) as down:
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


def test_a_wave_begins_when_the_one_before_is_over(ten: Sites):
    waves = {name: 1 + number // 5 for number, name in enumerate(ten.names)}
    ten.write_project(waves=waves)
    order: list[int] = []
    for name, one in ten.clusters.items():
        one.on_apply(lambda manifest, wave=waves[name]: order.append(wave))  # type: ignore[misc]
    assert ten.run("deploy", IMAGE, "--offline", "--all").exit_code == 0
    assert order == sorted(order)


def test_failures_beyond_the_budget_begin_no_other_site(ten: Sites):
    ten.write_project(waves={name: 1 if number < 6 else 2 for number, name in enumerate(ten.names)})
    with some_down(ten, refusing=3, forbidding=3):
        result = ten.run("deploy", IMAGE, "--offline", "--all", "--max-failures", "2")
    assert isinstance(result.exception, FleetError)
    assert states(result.stdout) == {"unreachable": 3, "failed": 3, "skipped": 4}
    assert "not started, because too many other sites failed" in result.stdout
    assert ten.deployed() == []


def test_no_more_sites_than_allowed_are_in_work_at_once(ten: Sites):
    inside: set[str] = set()
    done: set[str] = set()
    most = 0
    for name, one in ten.clusters.items():

        def note(request: Request, name: str = name) -> None:
            nonlocal most
            if name not in done:
                inside.add(name)
            most = max(most, len(inside))
            if request.method == "PATCH" and request.query["fieldManager"] == "eaves-rollout":
                inside.discard(name)  # the last change that a deploy makes
                done.add(name)

        one.fault = note
    assert ten.run("deploy", IMAGE, "--offline", "--all", "--parallel", "3").exit_code == 0
    assert most == 3


@pytest.mark.long("commands run against many simulated sites")
def test_ctrl_c_ends_it_soon_says_what_was_done_and_the_same_command_continues(ten: Sites):
    for one in ten.clusters.values():
        one.delay_s = 0.05
    process = ten.start("deploy", IMAGE, "--offline", "--all", "--parallel", "2")
    wait_until(lambda: len(ten.deployed()) >= 3, 60, what="the third site, which begins after another one is done")
    process.send_signal(signal.SIGINT)
    output, said = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGINT, said
    assert "Traceback" not in said
    assert "stopped" in said.splitlines()[-2]
    assert said.splitlines()[-1].startswith("try: eaves reconcile --site s0")
    counts = states(output)
    assert counts["done"] >= 1
    assert counts["stopped"] >= 5
    assert counts["done"] + counts["stopped"] == 10
    for one in ten.clusters.values():
        one.delay_s = 0
    assert ten.run("reconcile", "--all").exit_code == 0
    assert ten.deployed() == ten.names


def test_status_of_all_of_them_names_those_that_are_silent(ten: Sites):
    ten.run("deploy", IMAGE, "--offline", "--all")
    with some_down(ten, refusing=2, forbidding=1):
        result = ten.run("status", "--all")
    assert isinstance(result.exception, FleetError)
    assert result.exception.message == "of 10 sites: 7 done, 2 unreachable, 1 failed"
    assert result.exception.hint == "eaves doctor --site s000,s001,s002"
    rows = [line.split() for line in result.stdout.splitlines() if line.strip().startswith("s0")]
    assert Counter(row[1] for row in rows) == {"flowers": 7, "unreachable": 2, "failed": 1}
