"""The processes of relays: their settings, and when they are started, changed and ended."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eaves.config import build, env_layer, iter_leaves
from eaves.errors import UnreachableError
from eaves.events import Event
from eaves.link.settings import RelaySettings
from eaves.local.processes.app_processes import AppProcesses
from eaves.local.processes.process import ProcessHost
from eaves.local.state import LocalApp, LocalFunction, StateDirectory
from eaves.platform import RelaySpec, SourceSpec
from eaves.platform.app import BROKER, FUNCTION
from eaves.sources.settings import AgentSettings
from tests.fakes.clock import ManualClock
from tests.fakes.processes import FakeLauncher

TO = "https://cloud.example:8443"
EVENT = Event(id="1", source="/eaves/home/flowers", type="t")


def app(name: str = "flowers", **relay: Any) -> LocalApp:
    function = LocalFunction(name=name, site="home", artifact=Path("/a"))
    return LocalApp(function=function, relay=RelaySpec(**{"to": TO, **relay}))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def launch() -> FakeLauncher:
    return FakeLauncher()


@pytest.fixture
def relays(tmp_path: Path, clock: ManualClock, launch: FakeLauncher) -> AppProcesses:
    host = ProcessHost(state=StateDirectory(root=tmp_path), inherit={}, clock=clock, launch=launch)
    return AppProcesses(host, broker=lambda: "http://sink/")


def reported(launch: FakeLauncher) -> RelaySettings:
    """Return the settings of the newest relay as its process reads them."""
    environ = launch.environs["eaves.link.relay"]
    assert environ.keys() <= {leaf.env for leaf in iter_leaves(RelaySettings)}
    return build(RelaySettings, env_layer(RelaySettings, environ))


def test_a_relay_is_reported_what_eaves_yaml_says(relays: AppProcesses, launch: FakeLauncher, tmp_path: Path) -> None:
    wanted = app(
        credentials=Path("/secrets"),
        images="low",
        alarms=({"label": "fire"}, {"label": "smoke", "confidence": "high"}),
        newest_first=True,
        rate_bytes=50_000,
        spool_size="1Gi",
    )
    relays.reconcile({"flowers": wanted})
    settings = reported(launch)
    assert (settings.to, settings.site, settings.credentials) == (TO, "home", Path("/secrets"))
    assert settings.alarm_rules() == ({"label": "fire"}, {"label": "smoke", "confidence": "high"})
    assert (settings.newest_first, settings.rate_bytes, settings.images) == (True, 50_000, "all")
    assert (settings.spool_max_bytes, settings.spool_dead_max_bytes) == (500_000_000, 100_000_000)
    assert settings.spool == tmp_path / "relays" / "flowers.db"
    assert (settings.host, settings.broker) == ("127.0.0.1", "")


@pytest.mark.parametrize(
    ("through", "images", "expected"),
    [
        (FUNCTION, "low", ("http://sink/functions/flowers", "http://sink/relays/flowers", "low")),
        (BROKER, "none", ("", "http://sink/", "none")),
    ],
)
def test_an_agent_asks_the_function_itself_unless_a_source_goes_through_the_broker(
    through: str, images: str, expected: tuple[str, str, str], relays: AppProcesses, launch: FakeLauncher
) -> None:
    sources = (SourceSpec(name="one"), SourceSpec(name="two", through=through))
    relays.reconcile({"flowers": replace(app(images=images), sources=sources)})
    agent = build(AgentSettings, env_layer(AgentSettings, launch.environs["eaves.sources"]))
    assert (agent.function, agent.sink, agent.forward_images) == expected


def test_a_relay_is_started_anew_when_its_receiver_changes_and_ends_with_it(
    relays: AppProcesses, launch: FakeLauncher
) -> None:
    relays.reconcile({"flowers": app()})
    before = reported(launch)
    relays.reconcile({"flowers": app()})
    assert launch.count == 1
    relays.reconcile({"flowers": app(to="https://other.example")})
    after = reported(launch)
    assert (after.to, after.spool) == ("https://other.example", before.spool)
    assert [child.running for child in launch.children] == [False, True]
    relays.reconcile({"flowers": replace(app(), relay=RelaySpec())})
    assert [child.running for child in launch.children] == [False, False]
    assert relays.statuses("flowers") == ()


def test_nothing_is_sent_to_the_port_of_a_relay_that_ended(
    relays: AppProcesses, launch: FakeLauncher, clock: ManualClock
) -> None:
    """Another program may listen there by now, and would answer for events that it throws away."""
    relays.reconcile({"flowers": app()})
    launch.children[0].end(1)
    with pytest.raises(UnreachableError, match="ended with 1"):
        relays.send_to_relay("flowers", EVENT)
    (status,) = relays.statuses("flowers")
    assert (status.name, status.state, status.reason) == ("flowers.relay", "stopped", "ended with 1")
    relays.reconcile({"flowers": app()})
    clock.turn(5)
    relays.reconcile({"flowers": app()})
    assert launch.count == 2
    assert relays.send_to_relay("flowers", EVENT).status == 200
    relays.stop()
