"""Main loop of the camera source: start a decoder, take its frames, end it when it is silent, and connect again."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from eaves.credentials.folder import read_credentials
from eaves.errors import ConfigError
from eaves.sources.camera.capture import FrameCapture, LivePositions, start_file
from eaves.sources.camera.decoder_process import DECODER, TERM_S, DecoderProcess, build_environ
from eaves.sources.camera.location import build_subject, parse_location, probe
from eaves.sources.camera.login import StreamLogin
from eaves.sources.camera.outage_report import OutageReport
from eaves.sources.camera.reconnection import MISSING, PACE, Reconnection
from eaves.sources.camera.settings import CameraSettings
from eaves.sources.camera.slot import FrameSlot
from eaves.sources.camera.wire import Opened
from eaves.sources.context import SourceContext, State

LOOK_S = 2.0
"""Interval at which the source looks for new credentials while it isn't connected, seconds."""
MEMORY_LOOK_S = 1.0
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
_REASONS = {
    "unreachable": "the camera can't be reached",
    "refused_login": "the camera refused the user name or the password",
    "untrusted": "the certificate of the camera is not trusted",
    "not_found": "the camera has no such stream",
    "no_video": "the stream has no video",
    "unsupported": "the stream can't be read",
    "broken": "the stream ended",
    "missing_library": "PyAV is not installed: python -m pip install av",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamEnd:
    """Why an attempt to read a stream ended.

    Attributes:
        code: A `FailureCode`, or `missing`, `silent`, `crashed`, `memory`, `finished`, `credentials`, `stopping`.
        reason: The reason as a sentence without credentials.
    """

    code: str
    reason: str = ""


STOPPING = StreamEnd(code="stopping")


class CameraSource:
    """Takes frames from one stream.

    Args:
        settings: Stream, and which of its frames are taken.
        context: Interface to the agent.
        command: Command that starts a decoder.
        pace: Reserves the start of a decoder, and returns the time until then in seconds.

    Attributes:
        opened: What the decoder found in the stream last; None until a stream was open.
        ended: Why the last attempt to read the stream ended; None before the first end.
    """

    def __init__(
        self,
        settings: CameraSettings,
        context: SourceContext,
        *,
        command: Sequence[str] = DECODER,
        pace: Callable[[], float] = PACE.reserve,
    ) -> None:
        self.opened: Opened | None = None
        self.ended: StreamEnd | None = None
        self._settings, self._context = settings, context
        self._command, self._pace = command, pace
        self._proxy = context.proxies.find(settings.url)
        self._location = parse_location(settings.url, context.proxies)
        self._slot = FrameSlot(context.clock)
        self._capture = FrameCapture(context, build_subject(settings.url) or context.name, settings.every_s)
        self._reconnection = Reconnection()
        self._positions = LivePositions()
        self._decoder: DecoderProcess | None = None
        self._login: StreamLogin | None = None
        self._probing = self._probed = False
        self._lost = False
        self._played: tuple[int, int] | None = None
        self._report = OutageReport(context)

    def run(self) -> None:
        """Take frames until the agent stops."""
        context = self._context
        with context.on_stop(self._stop):
            try:
                while not context.stopping:
                    began_s = context.clock.monotonic()
                    ended = self.ended = self._attempt()
                    if ended is STOPPING:
                        return
                    if ended.code in AT_END and self._location.is_file:
                        self._rest_at_end(ended)
                    else:
                        self._rest(ended, began_s)
            finally:
                self._end_decoder()

    def _stop(self) -> None:
        decoder = self._decoder
        if decoder is not None:
            decoder.terminate()
        self._slot.wake()

    # One attempt

    def _attempt(self) -> StreamEnd:
        """Connect, and take frames until the stream ends, for whatever reason."""
        context = self._context
        if not self._end_decoder():
            return StreamEnd(code="crashed", reason="the process of the decoder hangs and can't be ended")
        try:
            login = StreamLogin(self._settings, read_credentials(context.credentials), context.credentials)
        except ConfigError as error:
            self._login = None
            return StreamEnd(code="credentials", reason=error.message)
        self._login = login
        if blocked := self._find_obstacle():
            return blocked
        if (wait_s := self._pace()) and not context.wait(wait_s):
            return STOPPING
        path, self._played = self._location.path, self._location.file_identity()
        started = start_file(path, self._played) if path and self._played and self._location.is_file else ""
        try:
            decoder = self._decoder = DecoderProcess(
                login.request(context.max_bytes),
                self._slot,
                clock=context.clock,
                environ=build_environ(self._proxy),
                command=self._command,
            )
        except OSError as error:
            return StreamEnd(code="crashed", reason=f"the decoder can't be started: {error.strerror}")
        try:
            return self._follow(decoder, login, started or self._positions.start())
        finally:
            self._end_decoder()

    def _find_obstacle(self) -> StreamEnd | None:
        """Return why a decoder needn't be started now; None when nothing is known against it."""
        if self._proxy is not None and self._proxy.tls:
            return StreamEnd(code="unsupported", reason="a stream can't be read through a proxy that uses TLS")
        if missing := self._location.find_missing():
            return StreamEnd(code=MISSING, reason=missing)
        if not self._probing or not self._location.host:
            return None
        if unreachable := probe(self._location, lambda: self._context.stopping):
            return StreamEnd(code="unreachable", reason=unreachable)
        self._probed = True
        return None

    def _follow(self, decoder: DecoderProcess, login: StreamLogin, stream: str) -> StreamEnd:
        """Take the frames of a decoder until it ends or has to be ended."""
        context, clock = self._context, self._context.clock
        began_s = frame_s = look_s = clock.monotonic()
        while not context.stopping:
            over = decoder.over  # looked at before the slot is, so that the last frame isn't missed
            frame, replaced = self._slot.take(0.0 if over else self._due_s(decoder, began_s, look_s))
            now_s = clock.monotonic()
            self.opened = decoder.opened or self.opened
            self._capture.count(replaced, decoder.take_dropped(), login.hide)
            if frame is not None:
                frame_s = now_s
                self._note_frame(now_s)
                self._capture.offer(frame, stream)
            elif self._capture.retry() and not self._reconnection.flapping:
                self._report.watching()
            if over and frame is None:
                return self._explain_end(decoder, login)
            if end := self._judge(decoder, began_s, frame_s, now_s):
                return end
            if now_s - look_s >= MEMORY_LOOK_S:
                look_s = now_s
                if decoder.resident_bytes() > self._settings.decoder_max_bytes:
                    return self._recycle(decoder)
        return STOPPING

    def _due_s(self, decoder: DecoderProcess, began_s: float, look_s: float) -> float:
        """Return the time until something has to be looked at though the decoder says nothing, seconds."""
        limit_s = self._limit_s(decoder, began_s)
        return max(0.0, min(limit_s, look_s + MEMORY_LOOK_S) - self._context.clock.monotonic())

    def _limit_s(self, decoder: DecoderProcess, began_s: float) -> float:
        """Return the monotonic time until which the decoder may say nothing, seconds."""
        if decoder.opened is None:
            return began_s + START_S + self._settings.connect_timeout_s
        return decoder.last_data_s + self._settings.silent_s

    def _judge(self, decoder: DecoderProcess, began_s: float, frame_s: float, now_s: float) -> StreamEnd | None:
        """Return why the decoder has to be ended; None while it may continue."""
        settings = self._settings
        if now_s >= self._limit_s(decoder, began_s):
            if decoder.opened is None:
                reason = f"the stream was not open within {settings.connect_timeout_s:g} s"
                return StreamEnd(code="unreachable", reason=f"{reason}; connecting again")
            return StreamEnd(
                code="silent", reason=f"no data from the camera for {settings.silent_s:g} s; connecting again"
            )
        frameless_s = FRAMELESS_S + 2 * settings.every_s
        if decoder.opened is not None and now_s - frame_s >= frameless_s:
            reason = f"the camera sends data, but no whole frame for {frameless_s:g} s; connecting again"
            return StreamEnd(code="silent", reason=reason)
        return None

    def _note_frame(self, now_s: float) -> None:
        if self._lost:
            self._lost = False
            self._context.reconnected()
        if not self._location.is_file:  # a file that ends the decoder has frames each time
            self._reconnection.received(now_s)
        if not self._reconnection.flapping:
            self._report.end()
            if not self._capture.paused:
                self._report.watching()

    def _explain_end(self, decoder: DecoderProcess, login: StreamLogin) -> StreamEnd:
        """Return why a decoder has ended by itself."""
        if self._context.stopping:
            return STOPPING
        if decoder.ended and self._location.is_file:
            return StreamEnd(code="finished", reason=f"all frames of {self._location.path} were played")
        if decoder.failed is not None:
            code = decoder.failed.code
            reason = login.hide(decoder.failed.message).strip() or _REASONS[code]
            if code == "missing_library":
                reason = _REASONS[code]
            if code == "refused_login":
                reason += "; it is tried again after 5 minutes, or when the credentials change"
            return StreamEnd(code=code, reason=reason)
        if decoder.ended:
            return StreamEnd(code="broken", reason="the stream ended; connecting again")
        tail = login.hide(decoder.tail)
        if not self._end_decoder():
            return StreamEnd(code="crashed", reason="the process of the decoder hangs and can't be ended")
        what = f"broke: {login.hide(decoder.fault)}" if decoder.fault else decoder.exit_status
        self._report.log_hourly("crashed", f"the decoder {what}", f"; its last output:\n{tail}" if tail else "")
        return StreamEnd(code="crashed", reason=f"the decoder {what}; it is started again")

    def _recycle(self, decoder: DecoderProcess) -> StreamEnd:
        limit = f"more than decoder_max_bytes ({self._settings.decoder_max_bytes})"
        used = f"the decoder used {decoder.resident_bytes()} bytes of memory, {limit}"
        self._report.log_hourly("memory", f"{used}; it was replaced")
        return StreamEnd(code="memory", reason=f"the decoder used {limit} of memory; it is started again")

    def _end_decoder(self) -> bool:
        """End the decoder, if there is one; return whether none is left."""
        if self._decoder is None:
            return True
        if not self._decoder.end(STOPPING_S if self._context.stopping else TERM_S):
            return False
        self._decoder = None
        frame, replaced = self._slot.take(0.0)
        if frame is not None or replaced:
            self._context.drop("late", replaced + (frame is not None))
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
            self._report.waiting(ended.reason)
        until_s = self._reconnection.failed(ended.code, began_s=began_s, now_s=now_s, jitter=random.random())  # noqa: S311
        while (left_s := until_s - clock.monotonic()) > 0 and context.wait(min(left_s, LOOK_S)):
            if self._capture.retry():
                self._report.repeat()
            if self._credentials_changed():
                return

    def _credentials_changed(self) -> bool:
        try:
            credentials = read_credentials(self._context.credentials)
        except ConfigError:
            return False
        return self._login is None or self._login.outdated(credentials)

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
