"""A camera source that runs as in an agent, with a real decoder's process, or one that follows a script."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eaves.base.clock import SYSTEM, Clock
from eaves.errors import SpoolError
from eaves.events import Event
from eaves.plugins.camera.decoder_process import DECODER
from eaves.plugins.camera.kind import CameraSettings
from eaves.plugins.camera.source import CameraSource
from eaves.sources.agent.context import AgentContext
from tests.fakes.clock import ManualClock
from tests.proc import child_pids
from tests.sources.contexts import build_context
from tests.waiting import wait_until


@dataclass
class RunningCamera:
    """A source, its agent's interface, and what became of its frames.

    Attributes:
        context: The agent's interface.
        events: What was stored, in order; no event twice.
        refuse: Raised instead of storing an event while it is set.
        ids: Ids of the stored events.
    """

    context: AgentContext = field(init=False)
    events: list[Event] = field(default_factory=list)
    refuse: SpoolError | None = None
    ids: set[str] = field(default_factory=set)
    thread: threading.Thread = field(default_factory=threading.Thread)

    @property
    def state(self) -> tuple[str, str]:
        """State and reason."""
        return self.context.counters.state, self.context.counters.reason

    @property
    def dropped(self) -> dict[str, int]:
        """Numbers of dropped frames by cause."""
        return dict(self.context.counters.dropped)

    def store(self, event: Event) -> bool:
        """Store an event, as a spool does."""
        if self.refuse is not None:
            raise self.refuse
        if event.id in self.ids:
            return False
        self.ids.add(event.id)
        self.events.append(event)
        return True

    def wait_for(self, frames: int, timeout_s: float = 20.0) -> None:
        """Wait until so many frames are stored in all."""
        wait_until(lambda: len(self.events) >= frames, timeout_s, what=f"{frames} frames; {self.state}")

    def wait_for_next(self, timeout_s: float = 20.0) -> None:
        """Wait for one more frame."""
        self.wait_for(len(self.events) + 1, timeout_s)

    def wait_for_state(self, state: str, part: str = "", timeout_s: float = 20.0) -> None:
        """Wait until the source reports a state whose reason contains a text."""
        wait_until(lambda: self.state[0] == state and part in self.state[1], timeout_s, what=f"{state}: {part}")

    def stop(self, timeout_s: float = 10.0) -> None:
        """Stop the source and wait for its end."""
        self.context.stop()
        self.thread.join(timeout_s)
        assert not self.thread.is_alive(), "the source doesn't stop"


@contextmanager
def run_camera(
    url: str = "rtsp://127.0.0.1:1/stream",
    *,
    command: Sequence[str] = DECODER,
    clock: Clock = SYSTEM,
    credentials: Path | None = None,
    context: dict[str, Any] | None = None,
    camera: RunningCamera | None = None,
    **settings: Any,
) -> Iterator[RunningCamera]:
    """A source that runs in the block, and leaves no process behind.

    Args:
        url: Address of the stream.
        command: Command of the decoder.
        clock: Clock of the agent.
        credentials: Folder with credentials.
        context: Further arguments of `AgentContext`.
        camera: What becomes of its frames; None for a plain `RunningCamera`.
        settings: Further settings of the source.
    """
    camera = camera or RunningCamera()
    camera.context = build_context(clock=clock, store=camera.store, credentials=credentials, **(context or {}))
    source = CameraSource(CameraSettings(url=url, **settings), camera.context, command=command)
    camera.thread = threading.Thread(target=source.run, name="camera under test")
    camera.thread.start()
    try:
        yield camera
    finally:
        camera.stop()
        assert not find_decoders(), "a decoder is left"


def find_decoders(parent: int | None = None) -> list[int]:
    """Process ids of the decoders that a process, by default this one, started, zombies too."""
    found = []
    for number in child_pids(parent or os.getpid()):
        try:
            words = Path(f"/proc/{number}/cmdline").read_text()
        except OSError:
            continue  # it has ended and was waited for
        if not words or any(name in words for name in ("camera.decoder", "scripted_decoder", "decoder-output")):
            found.append(number)
    return found


def the_decoder() -> int:
    """Process id of the one decoder that runs."""
    return wait_until(find_decoders, what="a decoder")[0]


def turn_until(
    clock: ManualClock,
    predicate: Callable[[], object],
    *,
    at_most_s: float,
    step_s: float = 0.5,
    between_decoders: bool = True,
) -> float:
    """Turn a clock in steps until the predicate holds; return the seconds that passed by it.

    A real process may need real time between two steps, so each step waits a moment.

    Args:
        clock: Clock to turn.
        predicate: Cheap and free of side effects.
        at_most_s: Seconds of the turned clock before the test fails.
        step_s: Seconds of a step.
        between_decoders: Whether time passes only while no decoder runs, so that a slow machine changes nothing.
    """
    began = clock.monotonic()
    while not predicate():
        assert clock.monotonic() - began < at_most_s, f"nothing happens within {at_most_s:g} s of the turned clock"
        wait_until(
            lambda: (clock.waiting and not (between_decoders and find_decoders())) or predicate(),
            what="a wait of the source",
        )
        clock.turn(step_s)
        threading.Event().wait(0.01)
    return clock.monotonic() - began
