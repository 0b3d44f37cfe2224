"""Main loop of the camera source: start a decoder, take its frames, end it when it is silent, and connect again.

A camera that is away for a minute is back within seconds of its return, one that is away for a month costs one attempt
a minute, and a camera that refuses the password isn't asked so often that it locks the account. A source never stops
trying.
"""

from __future__ import annotations

import logging
import random
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from eaves import media_type
from eaves.base.backoff import Backoff
from eaves.credentials import find_versions, read_credentials
from eaves.errors import ConfigError, SpoolError
from eaves.plugins.camera.address import StreamLogin, find_path, is_recording
from eaves.plugins.camera.decoder_process import DECODER, TERM_S, DecoderProcess
from eaves.plugins.camera.kind import CameraSettings
from eaves.plugins.camera.messages import EndCode, Ended, Opened, StreamFrame
from eaves.sources.context import Frame, SourceContext, State
from eaves.sources.files import build_text
from eaves.sources.retry import explain_refusal

POLL_S = 2.0
"""Interval at which the source looks for new credentials while it isn't connected, seconds."""
CHECK_S = 1.0
"""Interval at which the source looks at the limits of a decoder, seconds."""
START_S = 5.0
"""Time that a decoder may take to start, seconds, before the time limit of its connection begins."""
FRAMELESS_S = 120.0
"""Time for which a stream may have data and no frame, seconds, in addition to twice `every_s`. Cameras with the longest
intervals send a key frame every 20 seconds."""
STOPPING_S = 1.0
"""Time that a decoder gets to end when the agent stops, which has two seconds for everything."""
AT_END = ("finished", "broken", "no_video", "unsupported", "not_found")
"""Ends after which a file isn't played again: another attempt would give the same frames."""
JPEG = "image/jpeg"

_log = logging.getLogger(__name__)


STOPPING = Ended(code="stopping")
HANGING = Ended(code="crashed", message="the process of the decoder hangs and can't be ended")


class CameraSource:
    """Takes frames from one stream.

    Args:
        settings: Stream, and which of its frames are taken.
        context: Interface to the agent.
        command: Command that starts a decoder.
    """

    def __init__(self, settings: CameraSettings, context: SourceContext, *, command: Sequence[str] = DECODER) -> None:
        self._settings, self._context, self._command = settings, context, command
        self._path = find_path(settings.url)
        self._is_file = is_recording(self._path)
        self._held: Frame | None = None
        self._refused = False
        self._reconnection = Reconnection()
        self._decoder: DecoderProcess | None = None
        self._versions: Mapping[str, int] = {}
        self._lost = False
        self._crash = ""

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
                    if ended.code in AT_END and self._is_file:
                        self._rest_at_end(ended)
                    else:
                        self._rest(ended, began_s)
            finally:
                self._end_decoder()

    def _stop(self) -> None:
        if (decoder := self._decoder) is not None:
            decoder.terminate()

    # One attempt

    def _attempt(self) -> Ended:
        """Connect, and take frames until the stream ends, for whatever reason."""
        context, path = self._context, self._path
        if not self._end_decoder():
            return HANGING
        self._versions = find_versions(context.credentials)
        try:
            login = StreamLogin(self._settings, read_credentials(context.credentials), context.credentials)
        except ConfigError as error:
            return Ended(code="credentials", message=error.message)
        stream = secrets.token_hex(16)
        if path is not None:
            try:
                status = path.stat()
            except OSError:
                return Ended(code="missing", message=f"there is no {'file' if self._is_file else 'device'} {path}")
            if self._is_file:  # the same file has the same frames in the next run
                stream = f"{path}\0{status.st_mtime_ns}\0{status.st_size}"
        try:
            decoder = self._decoder = DecoderProcess(
                login.request(context.max_bytes),
                clock=context.clock,
                dropped=lambda one: context.drop(one.cause, one.count, reason=login.hide(one.reason[:256])),
                command=self._command,
            )
        except OSError as error:
            return Ended(code="crashed", message=f"the decoder can't be started: {error.strerror}")
        try:
            return self._follow(decoder, login, stream)
        finally:
            self._end_decoder()

    def _follow(self, decoder: DecoderProcess, login: StreamLogin, stream: str) -> Ended:
        """Take the frames of a decoder until it ends or has to be ended."""
        context, clock = self._context, self._context.clock
        began_s = frame_s = checked_s = clock.monotonic()
        opened: Opened | None = None
        while not context.stopping:
            over = decoder.over  # looked at before a frame is taken, so that the last one isn't missed
            frame = decoder.take(0.0 if over else CHECK_S)
            now_s = clock.monotonic()
            if decoder.opened is not None and decoder.opened is not opened:
                opened = decoder.opened
                context.describe(asdict(opened))
            if frame is not None:
                frame_s = now_s
                self._note_frame(now_s)
                self._offer(frame, stream)
            elif self._retry():
                context.report("watching")
            if over and frame is None:
                return self._explain_end(decoder, login)
            if now_s - checked_s >= CHECK_S:
                checked_s = now_s
                if end := self._find_excess(decoder, began_s, frame_s):
                    return end
        return STOPPING

    def _find_excess(self, decoder: DecoderProcess, began_s: float, frame_s: float) -> Ended | None:
        """Return why a decoder has to be ended, which began and gave its last frame at these times; None to go on."""
        settings, now_s = self._settings, self._context.clock.monotonic()
        frameless_s = FRAMELESS_S + 2 * settings.every_s
        if decoder.opened is None:
            if now_s >= began_s + START_S + settings.connect_timeout_s:
                message = f"the stream was not open within {settings.connect_timeout_s:g} s; connecting again"
                return Ended(code="unreachable", message=message)
        elif now_s >= decoder.last_data_s + settings.silent_s:
            message = f"no data from the camera for {settings.silent_s:g} s; connecting again"
            return Ended(code="silent", message=message)
        elif now_s >= frame_s + frameless_s:
            message = f"the camera sends data, but no whole frame for {frameless_s:g} s; connecting again"
            return Ended(code="silent", message=message)
        return None

    def _note_frame(self, now_s: float) -> None:
        if self._lost:
            self._lost = False
            self._context.reconnected()
        if not self._is_file:  # a file that ends the decoder has frames each time
            self._reconnection.received(now_s)
        if self._held is None:
            self._context.report("watching")

    def _explain_end(self, decoder: DecoderProcess, login: StreamLogin) -> Ended:
        """Return why a decoder has ended by itself."""
        last = decoder.last
        if self._context.stopping:
            return STOPPING
        if last is None:
            if not self._end_decoder():
                return HANGING
            tail = login.hide(decoder.tail.decode("utf-8", "replace"))
            what = f"broke: {login.hide(decoder.fault)}" if decoder.fault else decoder.exit_status
            if what != self._crash and tail:  # the context logs the reason alone, once an hour
                _log.error("source %s: the decoder %s; its last output:\n%s", self._context.name, what, tail)
            self._crash = what
            return Ended(code="crashed", message=f"the decoder {what}; it is started again")
        reason = login.hide(last.message)
        if last.code == "refused_login":
            reason += "; it is tried again after 5 minutes, or when the credentials change"
        elif last.code == "finished":
            reason = f"all frames of {self._path} were played"
        return Ended(code=last.code, message=reason)

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

    def _rest(self, ended: Ended, began_s: float) -> None:
        """Report why there is no stream, and wait until the next attempt, or until the credentials change."""
        context, clock = self._context, self._context.clock
        self._lost = True
        now_s = clock.monotonic()
        context.report("waiting", ended.message)
        until_s = self._reconnection.failed(ended.code, began_s=began_s, now_s=now_s, jitter=random.random())  # noqa: S311
        while (left_s := until_s - clock.monotonic()) > 0 and context.wait(min(left_s, POLL_S)):
            if self._retry():
                context.report("waiting", ended.message)
            if find_versions(context.credentials) != self._versions:
                return

    def _rest_at_end(self, ended: Ended) -> None:
        """Wait for the agent's end, because a file was played to its end, or as far as possible."""
        context = self._context
        state: State = "finished" if ended.code == "finished" else "waiting"
        context.report(state, ended.message)
        while context.wait(POLL_S):
            if self._retry():
                context.report(state, ended.message)

    # Frames; while the queue is full, the newest one is kept and offered again

    def _offer(self, frame: StreamFrame, stream: str) -> None:
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
            subject=build_text(self._path.name if self._path else context.name),
            captured_at_ns=frame.captured_at_ns,
            content_type=JPEG,
        )
        self._retry()

    def _retry(self) -> bool:
        """Store the frame that is kept, if there is one; return whether it was stored after a pause."""
        if self._held is None:
            return False
        try:
            self._context.capture(self._held)
        except SpoolError as error:
            self._refused = True
            self._context.report("paused", explain_refusal(error))
            return False
        paused, self._held, self._refused = self._refused, None, False
        return paused


SHORT_OUTAGE_S = 120.0
"""Length of an outage up to which attempts are at most `SHORT_CAP_S` apart, seconds: a camera restarts in a minute or
two."""
SHORT_CAP_S = 3.0
"""Maximum time between the starts of two attempts in a short outage, seconds: a camera is back within 5 seconds of its
return."""
LONG_CAP_S = 60.0
"""Maximum time between the starts of two attempts in a longer outage, seconds."""
GROWTH = 0.1
"""Share of an outage's length that may pass between two attempts, up to `LONG_CAP_S`. A camera that is back after 5
minutes is found within 30 seconds."""
MINIMUM_S = 0.5
"""Minimum pause after the end of an attempt, seconds."""
STEADY_S = 10.0
"""Time that a stream must last, seconds, so that the next attempt after its end is made at once. The pauses grow after
shorter ones, because a camera may end each connection after one frame."""
FIXED_S: Mapping[EndCode, float] = {"refused_login": 300.0, "missing_library": 60.0}
"""Times until the next attempt that don't depend on the outage's length, seconds. Many cameras lock an account after
five wrong passwords within some minutes."""


class Reconnection:
    """Back-off of one stream; all times are monotonic, in seconds."""

    def __init__(self) -> None:
        self._failures = 0
        self._outage_began_s: float | None = None
        self._stream_began_s: float | None = None

    def received(self, now_s: float) -> None:
        """Note that a frame arrived, which ends the outage."""
        self._outage_began_s = None
        if self._stream_began_s is None:
            self._stream_began_s = now_s
        if now_s - self._stream_began_s >= STEADY_S:
            self._failures = 0

    def failed(self, code: EndCode, *, began_s: float, now_s: float, jitter: float) -> float:
        """Note that an attempt or a stream ended, and return the time of the next attempt.

        Args:
            code: Why it ended.
            began_s: Time at which the attempt began.
            now_s: Current time.
            jitter: Random number in [0, 1), so that many cameras don't connect at the same time.
        """
        streamed = self._stream_began_s is not None
        if streamed:
            self.received(now_s)
        self._stream_began_s = None
        self._failures += 1
        if self._outage_began_s is None:
            self._outage_began_s = now_s
        if code in FIXED_S:
            return now_s + FIXED_S[code] * (1.0 + 0.1 * jitter)
        outage_s = now_s - self._outage_began_s
        is_long = outage_s > SHORT_OUTAGE_S and code != "missing"  # to look for a device or a file costs nothing
        cap_s = min(LONG_CAP_S, GROWTH * outage_s) if is_long else SHORT_CAP_S
        pause_s = Backoff(retry=None, first_s=MINIMUM_S, cap_s=cap_s).pause_s(self._failures, jitter=jitter)
        return max(now_s + MINIMUM_S, (now_s if streamed else began_s) + pause_s)
