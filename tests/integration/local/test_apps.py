"""Taking up what is deployed: a step that fails is made by the next call, and no event passes its trigger by."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import pytest

from eaves.delivery import SinkResponse
from eaves.errors import PlatformError
from eaves.events import Event
from eaves.local.apps import Apps
from eaves.local.broker import Subscription
from eaves.local.processes.process import ProcessHost
from eaves.local.state import LocalApp, LocalFunction, StateDirectory
from eaves.platform import default_trigger
from tests.fakes.clock import ManualClock
from tests.fakes.processes import FakeLauncher


def app(name: str) -> LocalApp:
    function = LocalFunction(name=name, site="s", artifact=Path("/a"))
    return LocalApp(function=function, triggers=(default_trigger(name),))


class Parts:
    """What `Apps` needs of the rest, some of which can be made to fail.

    Attributes:
        error: Raised instead of subscribing, when set.
        subscriptions: The effective ones, by lane.
    """

    def __init__(self, state: StateDirectory, clock: ManualClock) -> None:
        self.error: Exception | None = None
        self.subscriptions: Mapping[str, Subscription] = {}
        self.host = ProcessHost(state=state, inherit={}, clock=clock, launch=FakeLauncher())

    def send_to_relay(self, app: str, event: Event) -> SinkResponse:
        return SinkResponse(status=202)

    def subscribe(self, subscriptions: Mapping[str, Subscription], *, keep: Collection[str]) -> None:
        if self.error is not None:
            raise self.error
        self.subscriptions = subscriptions


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    made = StateDirectory(root=tmp_path / "state")
    made.prepare()
    return made


@pytest.fixture
def parts(state: StateDirectory, clock: ManualClock) -> Parts:
    return Parts(state, clock)


@pytest.fixture
def apps(state: StateDirectory, clock: ManualClock, parts: Parts) -> Iterator[Apps]:
    made = Apps(parts.host, subscribe=parts.subscribe, send_to_relay=parts.send_to_relay)
    yield made
    made.stop()


def test_triggers_that_can_not_be_made_are_tried_again_and_no_event_passes_them_by(
    apps: Apps, state: StateDirectory, parts: Parts
) -> None:
    state.write_spec(app("a"))
    apps.reconcile()
    parts.error = RuntimeError("can't start new thread")
    state.write_spec(app("b"))
    with pytest.raises(RuntimeError, match="new thread"):
        apps.reconcile()
    with pytest.raises(PlatformError, match="the triggers of b are unknown"):
        apps.require_routes()
    parts.error = None
    apps.reconcile()
    assert apps.unreadable == {}
    assert {one.app for one in parts.subscriptions.values()} == {"a", "b"}
    apps.require_routes()


def test_a_removed_function_stays_until_its_triggers_are_gone(apps: Apps, state: StateDirectory, parts: Parts) -> None:
    state.write_spec(app("a"))
    apps.reconcile()
    parts.error = RuntimeError("can't start new thread")
    state.remove_spec("a")
    with pytest.raises(RuntimeError, match="new thread"):
        apps.reconcile()
    assert apps.activator("a").spec.name == "a"
    parts.error = None
    apps.reconcile()
    assert parts.subscriptions == {}
    with pytest.raises(PlatformError, match="no function 'a' runs here"):
        apps.activator("a")


def test_nothing_is_accepted_before_the_specs_were_read_once(apps: Apps, state: StateDirectory) -> None:
    state.specs.rename(state.root / "away")
    with pytest.raises(OSError, match="specs"):
        apps.reconcile()
    with pytest.raises(PlatformError, match="have not been read yet"):
        apps.require_routes()
    (state.root / "away").rename(state.specs)
    apps.reconcile()
    apps.require_routes()
