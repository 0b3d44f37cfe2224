"""A trial of one source: steps to its server, a run of the source until its first image, and the image's figures."""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from PIL import ImageStat

from eaves.credentials.folder import read_credentials
from eaves.credentials.redact import redact
from eaves.errors import ImageError
from eaves.events import Event
from eaves.http_client.proxies import Proxies
from eaves.images.decoder import load
from eaves.sources.agent.configuration import ConfiguredSource
from eaves.sources.agent.context import AgentContext
from eaves.sources.agent.counters import NOT_STARTED
from eaves.sources.agent.supervision import SupervisedSource, stop_sources
from eaves.sources.context import SourceContext
from eaves.sources.options.settings import parse_hours, parse_interval_ns
from eaves.sources.settings import ATTRIBUTES_BYTES
from eaves.sources.trial.failures import Failure, build_failure, classify
from eaves.sources.trial.server import StepError, TrialStep, check_server

if TYPE_CHECKING:
    from eaves.sources.camera.source import CameraSource
    from eaves.sources.camera.wire import Opened

TICK_S = 0.05
"""Interval between two looks at the state of the source, seconds."""
RATED = ("camera", "mqtt")
"""Kinds whose rate is measured, because no setting has it."""
WATCH_S = 4.0
"""Time in which a second image is waited for, seconds: cameras send a key frame every 1 to 4 seconds."""
MEASURE_S = 1.0
"""Minimum time in which the rate of images is measured, seconds."""
PERSISTENT_S = 1.5
"""Time for which a broker must be unavailable for the same reason, seconds: the agent connects again at once with MQTT
3.1.1 when a broker doesn't support 5. Any other source's first reason ends the trial."""
IDLE_S = {"folder": 1.0, "replay": 1.0, "s3": 5.0}
"""Time without an image, in addition to `settle_s`, after which a source of files counts as empty, seconds."""
DARK, BRIGHT = 24.0, 235.0
"""Mean grey levels below and above which an image is called dark or overexposed."""
FLAT = 4.0
"""Standard deviation of the grey levels below which an image counts as one colour. The noise of a camera behind a lens
cap has 1 to 3; a street at night has more than 10."""
_AGAIN = re.compile(r"; (?:connecting|it is (?:started|tried)) again.*")
"""End of a reason that says what an agent does next, which a trial doesn't do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureFigures:
    """Figures of one upright image.

    Attributes:
        width: Width, pixels.
        height: Height, pixels.
        brightness: Mean of the grey levels, 0 to 255.
        contrast: Standard deviation of the grey levels.
        remark: What the figures may mean for a person, such as a black image; empty when the image looks usual.
    """

    width: int
    height: int
    brightness: float
    contrast: float
    remark: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTrial:
    """Result of a trial.

    Attributes:
        name: Name of the source.
        kind: Kind of the source.
        place: Address or path of the source, without credentials.
        steps: Steps in order; the last one may have failed.
        stream: What the decoder found; None for a source that isn't a video stream.
        opened_s: Seconds until the stream was open.
        first_image_s: Seconds from the start of the source to its first image; None without an image.
        event: Event of the first image; None without an image.
        picture: Figures of the first image; None when it can't be decoded.
        interval_s: Minimum time between two images that the source will send, seconds; 0 when it isn't known.
        within_hours: Whether the option `hours` allows captures now.
        dropped: Numbers of dropped images, by cause.
        failure: Why there is no image; None with an image.
    """

    name: str
    kind: str
    place: str
    steps: tuple[TrialStep, ...] = ()
    stream: Opened | None = None
    opened_s: float = 0.0
    first_image_s: float | None = None
    event: Event | None = None
    picture: PictureFigures | None = None
    interval_s: float = 0.0
    within_hours: bool = True
    dropped: Mapping[str, int] = field(default_factory=dict)
    failure: Failure | None = None


def try_source(
    configured: ConfiguredSource,
    *,
    site: str,
    proxies: Proxies,
    timeout_s: float,
    report: Callable[[str], None] = lambda _: None,
) -> SourceTrial:
    """Connect to a source, take one image, and return what was found.

    Args:
        configured: Source with valid settings.
        site: Name of the site, which is part of the event's source.
        proxies: HTTP proxies of the process.
        timeout_s: Time limit of the whole trial, seconds.
        report: Called with a sentence when something begins that may take seconds.
    """
    deadline = time.monotonic() + timeout_s
    hours = parse_hours(configured.options.hours, configured.options.time_zone)
    trial = SourceTrial(
        name=configured.common.name,
        kind=configured.common.kind,
        place=_find_place(configured.settings),
        within_hours=hours is None or hours.contain(time.time_ns()),
    )
    steps: list[TrialStep] = []
    try:
        for step in _check_servers(configured, proxies, deadline):
            steps.append(step)  # noqa: PERF402 - the steps before a failed one are kept
    except StepError as error:
        steps.append(TrialStep(name=error.name, detail=error.failure.message, passed=False))
        return replace(trial, steps=tuple(steps), failure=error.failure)
    left_s = max(1.0, deadline - time.monotonic())
    report(f"waiting for an image from {trial.name}, at most {left_s:.0f} s; Ctrl-C stops")
    run = SourceRun(configured, site, proxies)
    run.run(deadline)
    event, stream = run.event, run.find_stream()
    trial = replace(trial, steps=tuple(steps), stream=stream, dropped=run.counters.dropped)
    trial = replace(trial, opened_s=min([run.opened_s, *run.times[:1]]))
    if event is None:
        failure = _explain_absence(trial, configured, run, timeout_s)
        steps.append(TrialStep(name=failure.step, detail=failure.message, passed=False))
        return replace(trial, steps=tuple(steps), failure=failure)
    interval_s = find_interval(stream, configured, run.measure_interval())
    trial = replace(trial, event=event, first_image_s=run.times[0], interval_s=interval_s)
    if not event.data:
        return trial  # it stays in its bucket, and the event only refers to it
    try:
        return replace(trial, picture=read_picture(event.data))
    except ImageError as error:
        return replace(trial, failure=Failure(code="unsupported", message=error.message, hint=error.hint or ""))


class SourceRun:
    """Runs a source exactly as an agent would, except that the option `hours` is left out.

    Args:
        configured: Source with valid settings.
        site: Name of the site.
        proxies: HTTP proxies of the process.

    Attributes:
        event: Event of the first image; None without an image.
        times: Time of each image since the start, seconds.
        counters: Counters and state of the source.
        opened_s: Time at which a camera's stream was open, seconds.
    """

    def __init__(self, configured: ConfiguredSource, site: str, proxies: Proxies) -> None:
        self._configured = configured
        self._began = time.monotonic()
        self.opened_s = 0.0
        self._camera: CameraSource | None = None
        self.event: Event | None = None
        self.times: list[float] = []
        self._context = AgentContext(
            configured.common.name,
            site=site,
            index=_NoIndex(),
            store=self._store,
            max_bytes=configured.common.max_bytes,
            spool_max_bytes=configured.common.max_bytes + ATTRIBUTES_BYTES,
            credentials=configured.common.credentials,
            proxies=proxies,
            options=replace(configured.options, hours=()),
        )
        self.counters = self._context.counters

    @property
    def reason(self) -> str:
        """Why the source captures nothing; a dropped image is no reason, because a later one may be captured."""
        known = (self.counters.state, self.counters.reason) == NOT_STARTED or self.counters.state == "finished"
        return "" if known or self.counters.reason == self.counters.unusable else self.counters.reason

    def run(self, deadline: float) -> None:
        """Run the source until it has an image, or until it is known why there is none; its log is left out."""
        source = SupervisedSource(self._run, self._context)
        logging.disable()
        source.start()
        try:
            self._wait(deadline)
        finally:
            stop_sources([source])
            logging.disable(logging.NOTSET)

    def find_stream(self) -> Opened | None:
        """Return what was found in a camera's stream; None when none was opened."""
        opened = self._camera.opened if self._camera else None
        if opened is None:
            return None
        interval_s = opened.key_interval_s
        if not interval_s and opened.decoding == "key" and not self._configured.settings.every_s:
            interval_s = self.measure_interval()
        return replace(opened, key_interval_s=interval_s)

    def measure_interval(self) -> float:
        """Return the mean time between images in seconds, rounded; 0 when there were fewer than two."""
        if len(self.times) < 2 or self._configured.common.kind not in RATED:
            return 0.0
        return round_interval((self.times[-1] - self.times[0]) / (len(self.times) - 1))

    def _run(self, context: SourceContext) -> None:
        configured = self._configured
        if configured.common.kind != "camera":
            configured.kind.run(configured.settings, context)
            return
        from eaves.sources.camera.source import CameraSource

        self._camera = CameraSource(configured.settings, context)
        self._camera.run()

    def _store(self, event: Event) -> bool:
        self.times.append(time.monotonic() - self._began)
        self.event = self.event or event
        return True

    def _wait(self, deadline: float) -> None:
        """Wait until the run has to end; a second image is waited for where it shows the rate."""
        counters, kind = self.counters, self._configured.common.kind
        idle_s = IDLE_S.get(kind, float("inf")) + getattr(self._configured.settings, "settle_s", 0.0)
        persistent_s = PERSISTENT_S if kind == "mqtt" else 0.0
        reason, since = "", time.monotonic()
        while (now := time.monotonic()) < deadline:
            time.sleep(TICK_S)
            if not self.opened_s and self._camera and self._camera.opened:
                self.opened_s = now - self._began
            if self.reason != reason or (counters.state, counters.reason) == NOT_STARTED:
                reason, since = self.reason, now
            if self.times:
                watched_s = now - self._began - self.times[0]
                if kind not in RATED or watched_s >= (MEASURE_S if len(self.times) > 1 else WATCH_S):
                    return
            elif counters.state == "finished" or now - since >= (persistent_s if reason else idle_s):
                return


class _NoIndex:
    """Implements `eaves.sources.index.SentIndex`: no image counts as sent before."""

    added = 0

    def seen(self, source: str, event_id: str) -> bool:
        return False

    def remember(self, source: str, event_ids: Collection[str]) -> None:
        pass

    def touch(self, source: str, event_ids: Collection[str]) -> int:
        return 0

    def forget(self, before: float) -> int:
        return 0


def _find_place(settings: Any) -> str:
    """Return the address or path among the settings of a kind, without credentials; empty when it has neither."""
    found = (getattr(settings, name, None) for name in ("url", "path", "bucket"))
    return redact(str(next(filter(None, found), "")))


def _check_servers(configured: ConfiguredSource, proxies: Proxies, deadline: float) -> Iterator[TrialStep]:
    proxy = proxies.find(str(getattr(configured.settings, "url", "")))
    if proxy is not None and configured.common.kind != "camera":
        yield TrialStep(name="proxy", detail=f"the connection leads through {redact(proxy.url)}")
        return
    folder = configured.common.credentials
    credentials = read_credentials(folder)
    for address in configured.kind.addresses(configured.settings):
        yield from check_server(address, credentials, deadline=deadline, folder=str(folder or ""))


def find_interval(stream: Opened | None, configured: ConfiguredSource, measured_s: float) -> float:
    """Return the minimum time between two images, seconds; 0 when nothing is known about it, as for a folder.

    It is the one that was found, but at least the setting `every_s` of the kind and that of the option `rate`.
    """
    found_s = 0.0
    if stream is not None:
        found_s = round_interval(stream.key_interval_s) if stream.decoding == "key" else 1 / (stream.rate or math.inf)
    is_bucket = configured.common.kind == "s3"  # its interval is that of its listing
    interval_s = max(found_s or measured_s, 0.0 if is_bucket else getattr(configured.settings, "every_s", 0.0))
    return max(interval_s, parse_interval_ns(configured.options.rate) / 1e9) if interval_s else 0.0


def round_interval(seconds: float) -> float:
    """Return a measured time with the digits that are shown: tenths of a second, or two digits of a short time."""
    return round(seconds, 1) if seconds >= 0.95 else float(f"{seconds:.2g}")


def read_picture(data: bytes) -> PictureFigures:
    """Return the figures of an encoded image.

    Raises:
        ImageError: When the function couldn't decode the image either.
    """
    image = load(data)
    figures = ImageStat.Stat(image.convert("L"))
    brightness, contrast = figures.mean[0], figures.stddev[0]
    remark = ""
    if contrast < FLAT:
        remark = "the image is of one colour: check the lens and the cable, or take a second image"
        if brightness < DARK:
            remark = "the image is black: check the light, the lens cap, and the privacy mode of the camera"
        elif brightness > BRIGHT:
            remark = "the image is white: check the exposure of the camera"
    elif not DARK <= brightness <= BRIGHT:
        remark = f"the image is very {'dark' if brightness < DARK else 'bright'}"
    return PictureFigures(
        width=image.width, height=image.height, brightness=brightness, contrast=contrast, remark=remark
    )


def _explain_absence(trial: SourceTrial, configured: ConfiguredSource, run: SourceRun, timeout_s: float) -> Failure:
    """Return why a run has no image, from the reason that the source reported, or from what it did instead."""
    if run.reason:
        code, reason = classify(run.reason), _AGAIN.sub("", run.reason)
        credentials = str(configured.common.credentials or "")
        if code == "refused_login" and trial.kind == "camera" and not credentials and "@" not in trial.place:
            reason = "the camera asks for a login, and there is no user name"
        return build_failure(code, reason, kind=trial.kind, place=trial.place, credentials=credentials)
    if trial.dropped:
        causes = ", ".join(f"{cause} {count}" for cause, count in sorted(trial.dropped.items()))
        why = run.counters.unusable.replace("every image was dropped: ", "; ")
        return Failure(code="unsupported", message=f"{trial.name} dropped every image ({causes}){why}")
    message, hint = f"no image came from {trial.place or trial.name} within {timeout_s:g} s", ""
    if place := {"folder": "folder", "replay": "recording", "s3": "bucket"}.get(trial.kind):
        message = f"the {place} {trial.place} has no image"
        hint = "copy a .jpg, .png, .webp, .bmp, .tif or .gif file into it"
    elif trial.kind == "mqtt":
        message = f"no message came on {', '.join(configured.settings.topics)} within {timeout_s:g} s"
        hint = "check the topic and the user's rights; wait longer with --timeout 60"
    elif trial.stream is not None:
        message = f"the stream is open ({trial.stream.codec}), and no key frame came within {timeout_s:g} s"
        hint = (
            "set the interval of key frames (I frames, GOP) to 1 to 4 seconds in the camera, or wait longer with "
            "--timeout 60"
        )
    return Failure(code="no_image", message=message, hint=hint)
