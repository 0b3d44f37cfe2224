"""The supervisor within this process: parts that fail while the others continue."""

import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from eaves.cli.live import StopSignals
from eaves.errors import StartError
from eaves.local.client import LocalPlatform
from eaves.local.settings import LocalSettings
from eaves.local.state import LocalApp, LocalFunction, StateDirectory
from eaves.local.supervisor import Supervisor
from eaves.platform import SourceSpec, default_trigger
from tests.fakes.processes import FakeLauncher
from tests.waiting import wait_until


def app(name: str, *sources: SourceSpec) -> LocalApp:
    function = LocalFunction(name=name, site="s", artifact=Path("/a"))
    return LocalApp(function=function, triggers=(default_trigger(name),), sources=sources)


@pytest.fixture
def state() -> Iterator[StateDirectory]:
    with tempfile.TemporaryDirectory(prefix="eaves-") as folder:
        made = StateDirectory(root=Path(folder) / "s")
        made.prepare()
        yield made


@pytest.fixture
def launch() -> FakeLauncher:
    return FakeLauncher()


@contextmanager
def running(state: StateDirectory, launch: FakeLauncher) -> Iterator[LocalPlatform]:
    """A platform whose processes are fakes."""
    supervisor = Supervisor(state, environ=os.environ, settings=LocalSettings(port=0), launch=launch)
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    try:
        yield LocalPlatform(state.root)
        assert thread.is_alive()
    finally:
        supervisor.stop()
        thread.join(30)
    assert not thread.is_alive()


def test_a_deploy_that_can_not_be_taken_up_says_why_and_is_tried_again(state: StateDirectory, launch: FakeLauncher):
    with running(state, launch) as platform:
        launch.error = OSError("no memory")
        with pytest.raises(StartError) as caught:
            platform.deploy(app("digits", SourceSpec(name="inbox", options={"path": "/in"})))
        assert caught.value.message == (
            "digits is deployed, but it is not running yet: the agent of digits can't be started: no memory"
        )
        assert "tries again by itself" in (caught.value.hint or "")
        assert state.names() == ["digits"]
        platform.deploy(app("other"))
        launch.error = None

        def states() -> list[str]:
            return [agent.state for agent in platform.status()[0].agents]

        wait_until(lambda: states() == ["starting"], 30, what="the agent, which runs and doesn't answer yet")


@pytest.fixture
def handlers() -> Iterator[None]:
    """The handlers of the signals as they were, afterwards."""
    before: dict[int, Callable[..., object] | int | None] = {
        number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)
    }
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
def test_a_signal_that_comes_while_a_lock_is_held_waits_for_it():
    """A handler that took the lock itself would wait for the very thread that it interrupted."""
    lock = threading.Lock()
    stopped = threading.Event()

    def stop() -> None:
        with lock:
            stopped.set()

    StopSignals().call(stop)
    with lock:
        for _ in range(10):
            os.kill(os.getpid(), signal.SIGTERM)
        assert not stopped.is_set()
    wait_until(stopped.is_set, what="the stop")


@pytest.mark.usefixtures("handlers")
def test_a_signal_that_a_thread_of_a_library_takes_is_waited_for():
    """The kernel chooses the thread, and a lock that the main thread waits for is not woken by another one's signal."""
    signals, ended = StopSignals(), threading.Event()
    other = threading.Thread(target=ended.wait)
    other.start()
    assert other.ident is not None
    sending = threading.Timer(0.1, signal.pthread_kill, (other.ident, signal.SIGTERM))
    sending.start()
    try:
        signals.wait()
    finally:
        ended.set()
        other.join()
        sending.join()
