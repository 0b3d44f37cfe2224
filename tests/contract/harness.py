"""What a contract test needs of a platform beyond the Protocol: to start it, kill it, and see what leaves it."""

import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Never, Protocol

from eaves.errors import PlatformError
from eaves.events import Event, encode_structured
from eaves.local.client import LocalPlatform
from eaves.local.state import LocalApp
from eaves.platform import DeliverySettings, FunctionStatus, Platform
from eaves.rollout import RolloutSettings
from tests.contract.sinks import LocalSink, Sink, open_sink
from tests.waiting import wait_until

QUICK = DeliverySettings(retry=3, backoff_s=0.05, backoff_cap_s=0.2, timeout_s=60)


class Harness(Protocol):
    """One platform under test."""

    durable: bool
    """Whether accepted events survive the platform's sudden end, and those that reach nobody wait."""

    patience: float
    """How many times as long as on this machine things may take."""

    delivery: DeliverySettings
    """Quick retries, and dead letters to where `dead` counts them."""

    @property
    def platform(self) -> Platform[LocalApp]: ...

    def deploy(self, app: LocalApp) -> None:
        """Deploy and let it serve; every trigger delivers when this returns."""

    def deploy_beside(self, app: LocalApp) -> None:
        """Deploy beside the version that serves, which keeps most requests."""

    def open_sink(self) -> AbstractContextManager[Sink]:
        """A subscriber that the platform reaches."""

    def publish_structured(self, event: Event) -> None:
        """Hand an event to the broker in structured mode, as other producers do; `platform.publish` sends binary."""

    def dead(self) -> int:
        """Events given up on so far."""

    def settle(self, sink: Sink) -> None:
        """Wait until nothing is on its way any more."""

    def clear(self) -> None:
        """Remove every function, and what would be left of it for the next test."""

    def kill(self) -> None:
        """End it without warning, as a power cut would."""

    def start(self) -> None:
        """Start it (again)."""


class LocalHarness:
    """A real `eaves up` on a state directory of its own."""

    durable = True
    patience = 1.0
    delivery = QUICK

    def __init__(self, state: Path) -> None:
        self.state = state
        self._platform = LocalPlatform(state)
        self._up: subprocess.Popen[bytes] | None = None
        self._log = state.with_suffix(".log")

    @property
    def platform(self) -> LocalPlatform:
        return self._platform

    def deploy(self, app: LocalApp) -> None:
        self.platform.deploy(app)
        self.platform.promote(app.function.name)

    def deploy_beside(self, app: LocalApp) -> None:
        self.platform.deploy(app, canary=RolloutSettings())

    @contextmanager
    def open_sink(self) -> Iterator[LocalSink]:
        with open_sink() as sink:
            yield sink

    def publish_structured(self, event: Event) -> None:
        headers, body = encode_structured(event)
        connection = HTTPConnection(self.broker_address(), timeout=30)
        try:
            connection.request("POST", "/", body, headers)
            assert connection.getresponse().status == 202
        finally:
            connection.close()

    def dead(self) -> int:
        return status_of(self.platform).dead

    def settle(self, sink: Sink) -> None:
        wait_until(lambda: status_of(self.platform).queued == 0, 60, what="an empty queue")

    def clear(self) -> None:
        left = self.platform.status()
        for one in left:
            self.platform.remove(one.name)
        if any(one.dead or one.queued for one in left):  # which outlive a removal
            self.stop()
            shutil.rmtree(self.state)
            self.start()

    def start(self, port: int = 0, *options: str) -> None:
        flags = ["--port", str(port), "--console-port", "0", "--state", str(self.state), *options]
        command = [sys.executable, "-P", "-m", "eaves.cli", "up", *flags]
        with self._log.open("ab") as log:
            self._up = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until(self._answers, 30, what="eaves up")

    def _answers(self) -> bool:
        """Whether it answers: what its killed predecessor was about to start holds the old socket for a moment."""
        try:
            return self._platform.running()
        except PlatformError:
            return False

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running `eaves up`."""
        assert self._up is not None
        return self._up

    @property
    def running(self) -> bool:
        """Whether `eaves up` was started and not ended since."""
        return self._up is not None

    @property
    def pid(self) -> int:
        """Process id of the running `eaves up`."""
        assert self._up is not None
        return self._up.pid

    def log(self) -> str:
        """What `eaves up` has written, stdout and stderr."""
        return self._log.read_text()

    def broker_address(self) -> str:
        """Host and port that the broker listens on."""
        pattern = re.compile(r"^http://([0-9.:]+)", flags=re.MULTILINE)
        return str(wait_until(lambda: pattern.findall(self.log()), what="the broker's address in the log")[-1])

    def _end(self, number: int) -> None:
        if self._up is not None:
            self._up.send_signal(number)
            self._up.wait(60)
            self._up = None


@contextmanager
def open_local_harness(*, start: bool = True) -> Iterator[LocalHarness]:
    """An empty state directory, and `eaves up` on it, which is ended afterwards.

    pytest's own folders have names that are too long for a Unix socket when a test's name is.

    Args:
        start: Whether `eaves up` runs already.
    """
    with tempfile.TemporaryDirectory(prefix="eaves-") as folder:
        made = LocalHarness(Path(folder) / "s")
        try:
            if start:
                made.start()
            yield made
        finally:
            made.stop()


def status_of(platform: Platform[Never]) -> FunctionStatus:
    """Return the status of the only function."""
    (status,) = platform.status()
    return status


def label_of(event: Event) -> str:
    """The best label of a prediction event."""
    return str(json.loads(event.data)["predictions"][0]["label"])
