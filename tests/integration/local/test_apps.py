"""Taking up what is deployed: one app that can't be taken up keeps no other from running."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest

from eaves.delivery import SinkResponse
from eaves.errors import PlatformError, UnreachableError
from eaves.events import Event
from eaves.local.apps import Apps
from eaves.local.broker import Subscription
from eaves.local.processes.activator import Activator
from eaves.local.specs import LocalApp, LocalFunction
from eaves.local.state import StateDirectory
from eaves.platform import default_trigger
from tests.fakes.clock import ManualClock
from tests.fakes.processes import FakeLauncher

EVENT = Event(id="1", source="/s", type="t")


def app(name: str, version: str = "1") -> LocalApp:
    function = LocalFunction(name=name, site="s", artifact=Path("/a"), env={"VERSION": version})
    return LocalApp(function=function, triggers=(default_trigger(name),))


class Parts:
    """What `Apps` needs of the rest, some of which can be made to fail.

    Attributes:
        broken: Names of the functions that can't be made.
        error: Raised instead of subscribing, when set.
        subscriptions: The effective ones, by lane.
        kept: Apps whose queues are to be left as they are.
        attempts: How often each function and the subscriptions ("") were to be made.
        relayed: App and event id of what was handed to a relay.
    """

    def __init__(self, state: StateDirectory, clock: ManualClock) -> None:
        self.broken: set[str] = set()
        self.error: Exception | None = None
        self.subscriptions: Mapping[str, Subscription] = {}
        self.kept: set[str] = set()
        self.attempts: dict[str, int] = {}
        self.relayed: list[tuple[str, str]] = []
        self._activate = partial(Activator, state=state, inherit={}, clock=clock, launch=FakeLauncher())

    def activate(self, spec: LocalFunction) -> Activator:
        self.attempts[spec.name] = self.attempts.get(spec.name, 0) + 1
        if spec.name in self.broken:
            raise RuntimeError("can't start new thread")
        return self._activate(spec)

    def send_to_relay(self, app: str, event: Event) -> SinkResponse:
        self.relayed.append((app, event.id))
        return SinkResponse(status=202)

    def subscribe(self, subscriptions: Mapping[str, Subscription], *, keep: Collection[str]) -> None:
        self.attempts[""] = self.attempts.get("", 0) + 1
        if self.error is not None:
            raise self.error
        self.subscriptions = subscriptions
        self.kept = set(keep)


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
    made = Apps(
        state, subscribe=parts.subscribe, activate=parts.activate, send_to_relay=parts.send_to_relay, clock=clock
    )
    yield made
    made.stop()


def test_a_function_that_can_not_be_made_is_named_and_the_others_are_served(
    apps: Apps, state: StateDirectory, parts: Parts
) -> None:
    parts.broken = {"bad"}
    for name in ("aaa", "bad", "zzz"):
        state.write_spec(app(name))
    apps.reconcile()
    assert apps.failed() == {"bad": "can't start new thread"}
    assert apps.state("bad") == ("failed", 0, "can't start new thread")
    assert apps.state("zzz") == ("idle", 0, "")
    assert {one.app for one in parts.subscriptions.values()} == {"aaa", "bad", "zzz"}
    apps.require_routes()
    with pytest.raises(UnreachableError, match="can't be set up yet"):
        parts.subscriptions["trigger/bad/bad"].send(EVENT, {})
    for _ in range(1_000):
        apps.reconcile()
    assert parts.attempts["aaa"] == parts.attempts[""] == 1
    parts.broken = set()
    apps.reconcile()
    assert apps.failed() == {}
    assert apps.state("bad") == ("idle", 0, "")


def test_a_function_whose_change_can_not_be_made_continues_as_it_was(
    apps: Apps, state: StateDirectory, parts: Parts
) -> None:
    state.write_spec(app("a"))
    apps.reconcile()
    before = apps.activator("a")
    parts.broken = {"a"}
    state.write_spec(app("a", "2"))
    apps.reconcile()
    assert apps.activator("a") is before
    assert apps.state("a")[0] == "failed"
    parts.broken = set()
    state.write_spec(app("a", "3"))
    apps.reconcile()
    assert apps.activator("a").spec == app("a", "3").function
    assert apps.failed() == {}


def test_triggers_that_can_not_be_made_are_tried_again_and_no_event_passes_them_by(
    apps: Apps, state: StateDirectory, parts: Parts
) -> None:
    state.write_spec(app("a"))
    apps.reconcile()
    parts.error = RuntimeError("can't start new thread")
    state.write_spec(app("b"))
    for _ in range(100):
        apps.reconcile()
    assert apps.failed() == {"b": "the triggers can't be set up: can't start new thread"}
    with pytest.raises(PlatformError, match="the triggers of b are unknown: the triggers can't be set up"):
        apps.require_routes()
    parts.error = None
    apps.reconcile()
    assert apps.failed() == {}
    assert {one.app for one in parts.subscriptions.values()} == {"a", "b"}
    apps.require_routes()


def test_a_removed_function_stays_until_its_triggers_are_gone(apps: Apps, state: StateDirectory, parts: Parts) -> None:
    state.write_spec(app("a"))
    apps.reconcile()
    parts.error = RuntimeError("can't start new thread")
    state.remove_spec("a")
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


def test_a_folder_of_specs_that_goes_away_removes_nothing(apps: Apps, state: StateDirectory) -> None:
    state.write_spec(app("a"))
    apps.reconcile()
    state.specs.rename(state.root / "away")
    with pytest.raises(OSError, match="specs"):
        apps.reconcile()
    assert list(apps.wanted) == ["a"]
    assert apps.activator("a").spec.name == "a"
