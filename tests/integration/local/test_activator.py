"""The keepers of what runs: replicas over time, and what is deployed, whose failing steps are made by the next call."""

import resource
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from eaves.delivery import SinkResponse
from eaves.errors import DeliveryError, PlatformError, StartError
from eaves.events import Event
from eaves.local.apps import Apps
from eaves.local.broker import Subscription
from eaves.local.processes.activator import FAILED_STARTS, LEAVE_S, RESTART, Activator
from eaves.local.processes.process import ProcessHost
from eaves.local.rollouts import LocalRollout, begin_rollout, change_rollout
from eaves.local.state import LocalApp, LocalFunction, StateDirectory
from eaves.platform import ScaleSettings, default_trigger
from eaves.rollout import RolloutSettings
from tests.fakes.clock import ManualClock
from tests.fakes.processes import UNANSWERED, FakeLauncher
from tests.waiting import wait_until

MakeActivator = Callable[..., Activator]


def build_host(root: Path, clock: ManualClock, launch: FakeLauncher) -> ProcessHost:
    return ProcessHost(state=StateDirectory(root=root), inherit={}, clock=clock, launch=launch)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def make(tmp_path: Path, clock: ManualClock) -> Iterator[MakeActivator]:
    made: list[Activator] = []

    def make_one(launch: FakeLauncher, **scale: float) -> Activator:
        settings = ScaleSettings(**{"min": 1, **scale})  # type: ignore[arg-type]
        spec = LocalFunction(name="digits", site="s", artifact=Path("/a"), scale=settings, concurrency=1)
        made.append(Activator(spec, build_host(tmp_path, clock, launch)))
        return made[-1]

    yield make_one
    for activator in made:
        activator.stop()


def turn_to_next(clock: ManualClock) -> float:
    """Let time pass until the keeper's pause is over; seconds that passed."""
    pause_s = wait_until(lambda: clock.next_due_s() or 0.0, pause_s=0, what="the keeper's pause")
    clock.turn(pause_s)
    return pause_s


def ask(activator: Activator) -> list[str]:
    """Send a request from another thread; the list gets its status, or why there is none."""
    answers: list[str] = []

    def send() -> None:
        try:
            answers.append(str(activator.forward({}, b"", timeout_s=3600).status))
        except StartError as error:
            answers.append(error.message)

    threading.Thread(target=send, daemon=True).start()
    return answers


def keeper_alive() -> bool:
    return any(thread.name == "activator-digits" for thread in threading.enumerate())


@pytest.mark.long("ten thousand starts fail")
def test_a_function_that_fails_ten_thousand_times_starts_once_it_is_mended(make: MakeActivator, clock: ManualClock):
    """0.5 * 2**1024 is no number: after 8.5 hours the keeper died, and the function never started again."""
    launch = FakeLauncher(exit_code=1)
    activator = make(launch)
    began = clock.monotonic()
    while launch.count < 10_000:
        turn_to_next(clock)
    assert keeper_alive()
    assert activator.state()[0] == "failed"
    assert "exit code 1" in activator.reason
    assert clock.monotonic() - began == pytest.approx(10_000 * RESTART.cap_s, rel=0.01)
    launch.exit_code = None
    while activator.state() != ("ready", 1):
        turn_to_next(clock)
    assert activator.reason == ""
    assert activator.forward({}, b"", timeout_s=10).status == 200


@pytest.mark.parametrize(
    "error",
    [OSError("no memory"), MemoryError()],
    ids=lambda error: type(error).__name__,
)
def test_the_keeper_survives_whatever_starting_raises(error: Exception, make: MakeActivator, clock: ManualClock):
    launch = FakeLauncher(error=error)
    activator = make(launch)
    while launch.count < 100:
        turn_to_next(clock)
    assert keeper_alive()
    launch.error = None
    while activator.state() != ("ready", 1):
        turn_to_next(clock)


def test_a_request_wakes_the_keeper_at_once_and_waits_for_a_replica(make: MakeActivator, clock: ManualClock):
    launch = FakeLauncher()
    activator = make(launch, min=0)
    wait_until(clock.next_due_s, what="the keeper's pause")
    answers = ask(activator)
    wait_until(lambda: launch.count == 1, what="the start")
    wait_until(lambda: turn_to_next(clock) >= 0 and answers, what="the answer")
    assert answers == ["200"]


def test_an_idle_replica_that_does_not_finish_is_killed(make: MakeActivator, clock: ManualClock):
    launch = FakeLauncher()
    activator = make(launch, min=0, idle_s=5)
    answers = ask(activator)
    wait_until(lambda: turn_to_next(clock) >= 0 and answers, what="the answer")
    (child,) = launch.children
    child.stubborn = True
    wait_until(lambda: turn_to_next(clock) >= 0 and activator.state() == ("idle", 0), what="zero replicas")
    assert child.running
    began = clock.monotonic()
    wait_until(lambda: turn_to_next(clock) >= 0 and not child.running, what="the kill")
    assert clock.monotonic() - began >= LEAVE_S - 1
    assert child.exit_code == -9


def test_a_request_that_waits_gets_the_place_of_one_that_ends(make: MakeActivator, clock: ManualClock):
    activator = make(FakeLauncher())
    wait_until(lambda: turn_to_next(clock) >= 0 and activator.state() == ("ready", 1), what="a replica")
    answers = [ask(activator) for _ in range(20)]
    wait_until(lambda: all(answers), what="every answer")  # by a clock that stands still: nobody waits for time
    assert {answer for (answer,) in answers} == {"200"}


def test_requests_without_an_answer_are_counted_and_health_is_known_after_a_start(
    make: MakeActivator, clock: ManualClock
):
    launch = FakeLauncher(exit_code=1)
    activator = make(launch)
    wait_until(lambda: launch.count == 1, what="a start")
    assert activator.health() is None
    launch.exit_code = None
    wait_until(lambda: turn_to_next(clock) >= 0 and activator.state() == ("ready", 1), what="a replica")
    assert activator.health()
    started = launch.count
    for number in (1, 2):
        with pytest.raises(DeliveryError):
            activator.forward({}, UNANSWERED, timeout_s=10)
        assert activator.unanswered == number
    launch.exit_code = 3
    launch.children[-1].end(0)
    wait_until(lambda: turn_to_next(clock) >= 0 and activator.health() is None, what="a start that failed")
    wait_until(lambda: turn_to_next(clock) >= 0 and activator.health() is False, what="three starts that failed")
    assert activator.unanswered == 2
    assert launch.count == started + FAILED_STARTS


def app(name: str, *, artifact: Path = Path("/a"), digest: str = "") -> LocalApp:
    function = LocalFunction(name=name, site="s", artifact=artifact, artifact_digest=digest)
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
):
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


def test_a_removed_function_stays_until_its_triggers_are_gone(apps: Apps, state: StateDirectory, parts: Parts):
    state.write_spec(app("a"))
    apps.reconcile()
    parts.error = RuntimeError("can't start new thread")
    state.remove_spec("a")
    with pytest.raises(RuntimeError, match="new thread"):
        apps.reconcile()
    assert apps.function("a").activators[0].spec.name == "a"
    parts.error = None
    apps.reconcile()
    assert parts.subscriptions == {}
    with pytest.raises(PlatformError, match="no function 'a' runs here"):
        apps.function("a")


def test_nothing_is_accepted_before_the_specs_were_read_once(apps: Apps, state: StateDirectory):
    state.specs.rename(state.root / "away")
    with pytest.raises(OSError, match="specs"):
        apps.reconcile()
    with pytest.raises(PlatformError, match="have not been read yet"):
        apps.require_routes()
    (state.root / "away").rename(state.specs)
    apps.reconcile()
    apps.require_routes()


@contextmanager
def full_disk() -> Iterator[None]:
    """No file of this process can grow."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_bad_canary_loses_its_share_although_that_can_not_be_stored(
    apps: Apps, state: StateDirectory, tmp_path: Path
):
    old, artifact = app("a", artifact=tmp_path, digest="a" * 64), tmp_path / "b"
    artifact.mkdir()
    new = app("a", artifact=artifact, digest="b" * 64)
    state.write_spec(old)

    def begin(*_: object) -> LocalRollout:
        made = begin_rollout(old, new, RolloutSettings(), 0.0)
        return replace(made, state=replace(made.state, traffic={"a" * 12: 50, "b" * 12: 50}))

    change_rollout(state, "a", begin)
    apps.reconcile()
    assert [one.spec for one in apps.function("a").activators] == [old.function, new.function]
    assert apps.function("a").percent == 50
    artifact.rmdir()
    with full_disk(), pytest.raises(OSError, match="too large"):
        apps.advance_rollouts()
    apps.reconcile()
    assert [one.spec for one in apps.function("a").activators] == [old.function]
    assert '"phase": "advancing"' in (state.rollouts / "a.json").read_text()
    apps.advance_rollouts()
    assert '"phase": "rolled-back"' in (state.rollouts / "a.json").read_text()
    assert state.read_spec("a") == old
