"""The processes of sources over time: ends and failed starts that go on for weeks."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from eaves.errors import UnreachableError
from eaves.events import Event
from eaves.local.processes.app_processes import LIVENESS_S, STEADY_S, AppProcesses
from eaves.local.processes.process import ProcessHost
from eaves.local.state import LocalApp, LocalFunction, StateDirectory
from eaves.platform import RelaySpec, SourceSpec
from tests.fakes.clock import ManualClock
from tests.fakes.processes import FakeLauncher


def app(name: str, *sources: str, site: str = "s") -> LocalApp:
    function = LocalFunction(name=name, site=site, artifact=Path("/a"))
    return LocalApp(
        function=function, sources=tuple(SourceSpec(name=source, options={"path": "/in"}) for source in sources)
    )


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def launch() -> FakeLauncher:
    return FakeLauncher()


def make(
    launch: FakeLauncher, root: Path, clock: ManualClock, *, inherit: Mapping[str, str] = {}, **options: Any
) -> AppProcesses:
    host = ProcessHost(state=StateDirectory(root=root), inherit=inherit, clock=clock, launch=launch)
    return AppProcesses(host, broker=lambda: "http://sink/", **options)


@pytest.fixture
def agents(tmp_path: Path, clock: ManualClock, launch: FakeLauncher) -> AppProcesses:
    return make(launch, tmp_path, clock)


def sources(agents: AppProcesses, name: str) -> dict[str, str]:
    """State of each source; `starting` while its agent runs and doesn't answer yet."""
    return {source.name: source.state for status in agents.statuses(name) for source in status.sources}


def test_a_source_that_can_not_be_started_is_named_and_the_others_run(
    agents: AppProcesses, clock: ManualClock, launch: FakeLauncher
):
    agents.reconcile({"a": app("a", "one")})
    launch.error = ValueError("embedded null byte")
    apps = {"b": app("b", "two"), "a": app("a", "one"), "c": app("c", "three")}
    for _ in range(20):
        agents.reconcile(apps)
        clock.turn(60)
    assert agents.failed() == {
        "b": "the agent of b can't be started: embedded null byte",
        "c": "the agent of c can't be started: embedded null byte",
    }
    assert sources(agents, "a") == {"one": "starting"}
    launch.error = None
    agents.reconcile(apps)
    assert agents.failed() == {}
    assert sources(agents, "c") == {"three": "starting"}


def ends_until_pause(agents: AppProcesses, clock: ManualClock, launch: FakeLauncher, ran_s: float) -> float:
    """Seconds until an agent that ran for so long and ended is started again."""
    apps = {"a": app("a", "one")}
    for _ in range(int(ran_s)):
        clock.turn(1)
        agents.reconcile(apps)
    launch.children[-1].end(1)
    agents.reconcile(apps)
    ended, count = clock.monotonic(), launch.count
    while launch.count == count:
        clock.turn(0.5)
        agents.reconcile(apps)
    return clock.monotonic() - ended


def test_a_source_that_ran_well_for_a_while_is_started_soon_after_it_ends(
    agents: AppProcesses, clock: ManualClock, launch: FakeLauncher
):
    agents.reconcile({"a": app("a", "one")})
    assert [ends_until_pause(agents, clock, launch, 5) for _ in range(6)] == [2, 4, 8, 16, 32, 60]
    assert ends_until_pause(agents, clock, launch, STEADY_S - 10) == 60
    assert ends_until_pause(agents, clock, launch, STEADY_S + 10) == 2


def test_an_agent_of_which_a_source_hangs_is_started_again(tmp_path: Path, clock: ManualClock, launch: FakeLauncher):
    hung: list[str] = []

    def ask(path: Path, *, timeout_s: float) -> list[str]:
        return hung if path == StateDirectory(root=tmp_path).socket_of("a") else []

    agents = make(launch, tmp_path, clock, ask=ask)
    apps = {"a": app("a", "one"), "b": app("b", "two")}
    for _ in range(100):
        agents.reconcile(apps)
        clock.turn(LIVENESS_S / 2)
    assert launch.count == 2
    hung.append("source one has ended")
    for _ in range(3):
        agents.reconcile(apps)
        clock.turn(LIVENESS_S / 2)
    assert [child.running for child in launch.children] == [False, True, True]


def test_an_agent_gets_the_variables_with_which_boto3_logs_in_and_the_path_of_the_brokers_token(
    clock: ManualClock, launch: FakeLauncher, tmp_path: Path
):
    inherit = {"AWS_PROFILE": "shop", "OTHER": "x"}
    agents = make(launch, tmp_path, clock, inherit=inherit, token=tmp_path / "token")
    agents.reconcile({"a": app("a", "one")})
    environ = launch.environs["eaves.sources"]
    assert (environ["AWS_PROFILE"], environ["EAVES_SINK_TOKEN"]) == ("shop", str(tmp_path / "token"))
    assert "OTHER" not in environ


def test_nothing_is_sent_to_the_port_of_a_relay_that_ended(
    agents: AppProcesses, launch: FakeLauncher, clock: ManualClock
):
    """Another program may listen there by now, and would answer for events that it throws away."""
    function = LocalFunction(name="flowers", site="home", artifact=Path("/a"))
    wanted = LocalApp(function=function, relay=RelaySpec(to="https://cloud.example:8443"))
    agents.reconcile({"flowers": wanted})
    launch.children[0].end(1)
    with pytest.raises(UnreachableError, match="ended with 1"):
        agents.send_to_relay("flowers", Event(id="1", source="/eaves/home/flowers", type="t"))
    (status,) = agents.statuses("flowers")
    assert (status.name, status.state, status.reason) == ("flowers.relay", "stopped", "ended with 1")
    agents.reconcile({"flowers": wanted})
    clock.turn(5)
    agents.reconcile({"flowers": wanted})
    assert launch.count == 2
    assert agents.send_to_relay("flowers", Event(id="1", source="/eaves/home/flowers", type="t")).status == 200
    agents.stop()
