"""Main loop of the camera source: start a decoder, take its frames, end it when it is silent, and connect again."""

from __future__ import annotations

import logging
import random
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from eaves import media_type
from eaves.credentials.folder import read_credentials
from eaves.errors import ConfigError, SpoolError
from eaves.sources.camera.address import StreamLogin, build_subject, find_versions, parse_location
from eaves.sources.camera.decoder_process import DECODER, TERM_S, DecoderProcess
from eaves.sources.camera.kind import CameraSettings
from eaves.sources.camera.outages import MISSING, PACE, Reconnection
from eaves.sources.camera.wire import DroppedFrames, Ended, Failed, Opened, StreamFrame
from eaves.sources.context import SourceContext, State
from eaves.sources.faults import REFUSED, HourlyLog, explain_refusal
from eaves.sources.files import build_text
from eaves.sources.frame import Cause, Frame

POLL_S = 2.0
"""Interval at which the source looks for new credentials while it isn't connected, seconds."""
MEMORY_POLL_S = 1.0
"""Interval at which the source looks at the memory of the decoder, seconds."""
START_S = 5.0
"""Time that a decoder may take to start, seconds, before the time limit of its connection begins."""
FRAMELESS_S = 120.0
"""Time for which a stream may have data and no frame, seconds, in addition to twice `every_s`. Cameras with the longest
intervals send a key frame every 20 seconds."""
STOPPING_S = 1.0
"""Time that a decoder gets to end when the agent stops, which has two seconds for everything."""
FILE_LOOK_S = 10.0
"""Interval at which the source looks whether a file that was played has changed, seconds."""
AT_END = ("finished", "broken", "no_video", "unsupported", "not_found")
"""Ends after which a file is played again only when it has changed: another attempt would give the same frames."""
JPEG = "image/jpeg"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """Why an attempt to read a stream ended.

    Attributes:
        code: A `FailureCode`, or `missing`, `silent`, `crashed`, `memory`, `finished`, `credentials`, `stopping`.
        reason: The reason as a sentence without credentials.
    """

    code: str
    reason: str = ""


STOPPING = StreamEnd("stopping")
HANGING = StreamEnd("crashed", "the process of the decoder hangs and can't be ended")


class CameraSource:
    """Takes frames from one stream.

    Args:
        settings: Stream, and which of its frames are taken.
        context: Interface to the agent.
        command: Command that starts a decoder.
        pace: Reserves the start of a decoder, and returns the time until then in seconds.
    """

    def __init__(
        self,
        settings: CameraSettings,
        context: SourceContext,
        *,
        command: Sequence[str] = DECODER,
        pace: Callable[[], float] = PACE.reserve,
    ) -> None:
        self._settings, self._context = settings, context
        self._command, self._pace = command, pace
        self._location = parse_location(settings.url)
        self._capture = FrameCapture(context, build_subject(settings.url) or context.name)
        self._reconnection = Reconnection()
        self._decoder: DecoderProcess | None = None
        self._versions: Mapping[str, int] = {}
        self._probing = self._probed = self._lost = False
        self._played: tuple[int, int] | None = None
        self._errors = HourlyLog(context.clock)

    def run(self) -> None:
        """Take frames until the agent stops."""
        context = self._context
        with context.on_stop(self._stop):
            try:
                while not context.stopping:
                    began_s = context.clock.monotonic()
                    ended = self._attempt()
                    if ended is STOPPING:
                        return
                    if ended.code in AT_END and self._location.is_file:
                        self._rest_at_end(ended)
                    else:
                        self._rest(ended, began_s)
            finally:
                self._end_decoder()

    def _stop(self) -> None:
        if (decoder := self._decoder) is not None:
            decoder.terminate()

    # One attempt

    def _attempt(self) -> StreamEnd:
        """Connect, and take frames until the stream ends, for whatever reason."""
        context = self._context
        if not self._end_decoder():
            return HANGING
        self._versions = find_versions(context.credentials)
        try:
            login = StreamLogin(self._settings, read_credentials(context.credentials), context.credentials)
        except ConfigError as error:
            return StreamEnd("credentials", error.message)
        if blocked := self._find_obstacle():
            return blocked
        if (wait_s := self._pace()) and not context.wait(wait_s):
            return STOPPING
        stream, self._played = secrets.token_hex(16), self._location.file_identity()
        if self._location.is_file and self._played:  # the same file has the same frames in the next run
            stream = f"{self._location.path}\0{self._played[0]}\0{self._played[1]}"
        try:
            decoder = self._decoder = DecoderProcess(
                login.request(context.max_bytes),
                clock=context.clock,
                dropped=lambda one: self._capture.count(one, login.hide),
                command=self._command,
            )
        except OSError as error:
            return StreamEnd("crashed", f"the decoder can't be started: {error.strerror}")
        try:
            return self._follow(decoder, login, stream)
        finally:
            self._end_decoder()

    def _find_obstacle(self) -> StreamEnd | None:
        """Return why a decoder needn't be started now; None when nothing is known against it."""
        if missing := self._location.find_missing():
            return StreamEnd(MISSING, missing)
        if not self._probing or not self._location.host:
            return None
        if unreachable := self._location.probe(lambda: self._context.stopping):
            return StreamEnd("unreachable", unreachable)
        self._probed = True
        return None

    def _follow(self, decoder: DecoderProcess, login: StreamLogin, stream: str) -> StreamEnd:
        """Take the frames of a decoder until it ends or has to be ended."""
        context, clock = self._context, self._context.clock
        began_s = frame_s = polled_s = now_s = clock.monotonic()
        opened: Opened | None = None
        while not context.stopping:
            over = decoder.over  # looked at before a frame is taken, so that the last one isn't missed
            due_s = min(polled_s + MEMORY_POLL_S, *(at_s for at_s, _ in self._limits(decoder, began_s, frame_s)))
            frame = decoder.take(0.0 if over else max(0.0, due_s - now_s))
            now_s = clock.monotonic()
            if decoder.opened is not None and decoder.opened is not opened:
                opened = decoder.opened
                context.describe(asdict(opened))
            if frame is not None:
                frame_s = now_s
                self._note_frame(now_s)
                self._capture.offer(frame, stream)
            elif self._capture.retry() and not self._reconnection.flapping:
                context.report("watching")
            if over and frame is None:
                return self._explain_end(decoder, login)
            for at_s, end in self._limits(decoder, began_s, frame_s):
                if now_s >= at_s:
                    return end
            if now_s - polled_s >= MEMORY_POLL_S:
                polled_s = now_s
                if decoder.resident_bytes() > self._settings.decoder_max_bytes:
                    return self._recycle(decoder)
        return STOPPING

    def _limits(self, decoder: DecoderProcess, began_s: float, frame_s: float) -> Iterator[tuple[float, StreamEnd]]:
        """Yield until when the decoder may continue as it does, monotonic time in seconds, and why it is ended then."""
        settings = self._settings
        if decoder.opened is None:
            reason = f"the stream was not open within {settings.connect_timeout_s:g} s; connecting again"
            yield began_s + START_S + settings.connect_timeout_s, StreamEnd("unreachable", reason)
            return
        reason = f"no data from the camera for {settings.silent_s:g} s; connecting again"
        yield decoder.last_data_s + settings.silent_s, StreamEnd("silent", reason)
        frameless_s = FRAMELESS_S + 2 * settings.every_s
        reason = f"the camera sends data, but no whole frame for {frameless_s:g} s; connecting again"
        yield frame_s + frameless_s, StreamEnd("silent", reason)

    def _note_frame(self, now_s: float) -> None:
        if self._lost:
            self._lost = False
            self._context.reconnected()
        if not self._location.is_file:  # a file that ends the decoder has frames each time
            self._reconnection.received(now_s)
        if not self._reconnection.flapping and not self._capture.paused:
            self._context.report("watching")

    def _explain_end(self, decoder: DecoderProcess, login: StreamLogin) -> StreamEnd:
        """Return why a decoder has ended by itself."""
        last = decoder.last
        if self._context.stopping:
            return STOPPING
        if isinstance(last, Failed):
            reason = login.hide(last.message)
            if last.code == "missing_library":
                reason = "PyAV is not installed: python -m pip install av"
            if last.code == "refused_login":
                reason += "; it is tried again after 5 minutes, or when the credentials change"
            return StreamEnd(last.code, reason)
        if isinstance(last, Ended):
            if self._location.is_file:
                return StreamEnd("finished", f"all frames of {self._location.path} were played")
            return StreamEnd("broken", "the stream ended; connecting again")
        tail = login.hide(decoder.tail)
        if not self._end_decoder():
            return HANGING
        what = f"broke: {login.hide(decoder.fault)}" if decoder.fault else decoder.exit_status
        self._log_error("crashed", f"the decoder {what}", f"; its last output:\n{tail}" if tail else "")
        return StreamEnd("crashed", f"the decoder {what}; it is started again")

    def _recycle(self, decoder: DecoderProcess) -> StreamEnd:
        limit = f"more than decoder_max_bytes ({self._settings.decoder_max_bytes})"
        used = f"the decoder used {decoder.resident_bytes()} bytes of memory, {limit}"
        self._log_error("memory", f"{used}; it was replaced")
        return StreamEnd("memory", f"the decoder used {limit} of memory; it is started again")

    def _log_error(self, kind: str, message: str, details: str = "") -> None:
        """Log an error that may happen often: at most once an hour for each kind."""
        if line := self._errors.admit(kind, message):
            _log.error("source %s: %s%s", self._context.name, line, details)

    def _end_decoder(self) -> bool:
        """End the decoder, if there is one; return whether none is left."""
        if self._decoder is None:
            return True
        if not self._decoder.end(STOPPING_S if self._context.stopping else TERM_S):
            return False
        frame = self._decoder.take(0.0)
        self._decoder = None
        if frame is not None:
            self._context.drop("late")
        return True

    # Between two attempts

    def _rest(self, ended: StreamEnd, began_s: float) -> None:
        """Report why there is no stream, and wait until the next attempt, or until the credentials change."""
        context, clock = self._context, self._context.clock
        self._lost = True
        # Some servers take one connection only, so an attempt that failed after a test is followed by one without.
        self._probing, self._probed = ended.code == "unreachable" and not self._probed, False
        now_s = clock.monotonic()
        if ended.code != "memory" or self._reconnection.flapping:  # that is logged once an hour
            context.report("waiting", ended.reason)
        until_s = self._reconnection.failed(ended.code, began_s=began_s, now_s=now_s, jitter=random.random())  # noqa: S311
        while (left_s := until_s - clock.monotonic()) > 0 and context.wait(min(left_s, POLL_S)):
            if self._capture.retry():
                context.report("waiting", ended.reason)
            if find_versions(context.credentials) != self._versions:
                return

    def _rest_at_end(self, ended: StreamEnd) -> None:
        """Wait until a file that was played to its end, or as far as possible, has changed and changes no more."""
        context, played = self._context, self._played
        state: State = "finished" if ended.code == "finished" else "waiting"
        context.report(state, ended.reason)
        last = played
        while context.wait(FILE_LOOK_S):
            if self._capture.retry():
                context.report(state, ended.reason)
            found = self._location.file_identity()
            if found is not None and found == last and found != played:
                return
            last = found


class FrameCapture:
    """Passes frames to the agent. While the queue is full it keeps the newest frame and offers it again.

    Args:
        context: Interface to the agent.
        subject: Name of the stream, the subject of its events.
    """

    def __init__(self, context: SourceContext, subject: str) -> None:
        self._context = context
        self._subject = build_text(subject)
        self._held: Frame | None = None
        self._failures = 0
        self._retry_s = 0.0
        self._logged: set[Cause] = set()

    @property
    def paused(self) -> bool:
        """Whether the queue has no room for the frame at hand."""
        return self._held is not None

    def offer(self, frame: StreamFrame, stream: str) -> None:
        """Store a frame of a stream, whose positions begin with `stream`, or keep it while the queue is full."""
        context = self._context
        if media_type.sniff(frame.data) != JPEG:
            context.drop("unreadable")
            return
        if self._held is not None:
            context.drop("spool_full")
        self._held = Frame(
            data=frame.data,
            position=f"{stream}\0{frame.number}",
            subject=self._subject,
            captured_at_ns=frame.captured_at_ns,
            content_type=JPEG,
        )
        self.retry()

    def retry(self) -> bool:
        """Store the frame that is kept, if there is one and it is time; return whether it was stored after a pause."""
        context = self._context
        if self._held is None or context.clock.monotonic() < self._retry_s:
            return False
        try:
            context.capture(self._held)
        except SpoolError as error:
            self._failures += 1
            self._retry_s = context.clock.monotonic() + REFUSED.pause_s(self._failures)
            context.report("paused", explain_refusal(error))
            return False
        paused = self._failures > 0
        self._held, self._failures, self._retry_s = None, 0, 0.0
        return paused

    def count(self, dropped: DroppedFrames, hide: Callable[[str], str]) -> None:
        """Count frames that never got here, and log the first one of each cause with its reason, without secrets."""
        self._context.drop(dropped.cause, dropped.count)
        if dropped.reason and dropped.cause not in self._logged:
            self._logged.add(dropped.cause)
            further = f"further such frames are not logged; they are counted as dropped, with the cause {dropped.cause}"
            reason = hide(dropped.reason[:256])[:256]
            _log.error("source %s: not captured: a frame: %s; %s", self._context.name, reason, further)
