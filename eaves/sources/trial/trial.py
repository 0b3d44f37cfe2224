"""A trial of one source: steps to its server, a run of the source, and the figures of its first image."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from eaves.credentials.folder import read_credentials
from eaves.credentials.redact import redact
from eaves.errors import ImageError
from eaves.http_client.proxies import Proxies
from eaves.sources.agent.configuration import ConfiguredSource
from eaves.sources.context import SourceContext
from eaves.sources.trial.failures import build_failure, classify
from eaves.sources.trial.findings import Failure, SourceTrial, StreamFacts, TrialStep
from eaves.sources.trial.load import estimate_load, find_stream_interval, is_within_hours, measure_interval
from eaves.sources.trial.server import StepError, check_server
from eaves.sources.trial.source_run import RunLimits, SourceRun, run_source

WATCH_S = 4.0
"""Time in which a second image is waited for, seconds: cameras send a key frame every 1 to 4 seconds."""
PERSISTENT_S = 1.5
"""Time for which a broker must be unavailable for the same reason, seconds: the agent connects again at once with MQTT
3.1.1 when a broker doesn't support 5. A camera's failed attempt ends the trial at once."""
MEASURE_S = 1.0
"""Minimum time in which the rate of images is measured, seconds."""
BUCKET_S = 5.0
"""Time without an image after which a bucket counts as empty, seconds."""
RATED = ("camera", "mqtt")
"""Kinds whose rate is measured, because no setting has it."""
FOLDER_S = 1.0
"""Time without an image, in addition to `settle_s`, after which a folder counts as empty, seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRequest:
    """What is tried, and how long.

    Attributes:
        configured: Source with valid settings.
        site: Name of the site, which is part of the event's source.
        proxies: HTTP proxies of the process.
        timeout_s: Time limit of the whole trial, seconds.
    """

    configured: ConfiguredSource
    site: str
    proxies: Proxies
    timeout_s: float


def try_source(request: TrialRequest, report: Callable[[str], None] = lambda _: None) -> SourceTrial:
    """Connect to a source, take one image, and return what was found.

    Args:
        request: What is tried.
        report: Called with a sentence when something begins that may take seconds.
    """
    configured = request.configured
    deadline = time.monotonic() + request.timeout_s
    trial = SourceTrial(
        name=configured.common.name,
        kind=configured.common.kind,
        place=find_place(configured.settings),
        within_hours=is_within_hours(configured.options, time.time()),
    )
    steps: list[TrialStep] = []
    try:
        for step in _check_servers(request, deadline):
            steps.append(step)  # noqa: PERF402 - the steps before a failed one are kept
    except StepError as error:
        steps.append(TrialStep(name=error.name, detail=error.failure.message, passed=False))
        return replace(trial, steps=tuple(steps), failure=error.failure)
    left_s = max(1.0, deadline - time.monotonic())
    report(f"waiting for an image from {trial.name}, at most {left_s:.0f} s; Ctrl-C stops")
    run, facts, failure = _run(request, deadline)
    return _conclude(replace(trial, steps=tuple(steps), stream=facts), request, run, failure)


def find_place(settings: Any) -> str:
    """Return the address or path among the settings of a kind, without credentials; empty when it has neither."""
    for name in ("url", "path", "bucket"):
        if value := getattr(settings, name, None):
            return redact(str(value))
    return ""


def _check_servers(request: TrialRequest, deadline: float) -> Iterator[TrialStep]:
    configured = request.configured
    url = str(getattr(configured.settings, "url", ""))
    proxy = request.proxies.find(url)
    if proxy is not None:
        yield TrialStep(name="proxy", detail=f"the connection leads through {redact(proxy.url)}")
        return
    folder = configured.common.credentials
    credentials = read_credentials(folder)
    for address in configured.kind.addresses(configured.settings):
        yield from check_server(address, credentials, deadline=deadline, folder=str(folder or ""))


def _run(request: TrialRequest, deadline: float) -> tuple[SourceRun, StreamFacts | None, Failure | None]:
    """Run the source; return what it did, what was found in its stream, and the failure that the decoder reported."""
    configured = request.configured
    run: Callable[[SourceContext], None] = partial(configured.kind.run, configured.settings)
    limits = _choose_limits(configured, deadline)
    if configured.common.kind != "camera":
        done = run_source(configured, run, limits, site=request.site, proxies=request.proxies)
        return done, None, None
    from eaves.sources.trial.stream import StreamObserver

    observer = StreamObserver(configured.settings)
    done = run_source(
        configured, observer.run, limits, site=request.site, proxies=request.proxies, is_over=observer.has_failed
    )
    credentials = str(configured.common.credentials or "")
    return done, observer.find_facts(done.arrivals), observer.find_failure(credentials)


def _choose_limits(configured: ConfiguredSource, deadline: float) -> RunLimits:
    """Return when the run of a source ends; a second image is waited for where it shows the rate."""
    if configured.common.kind in {"folder", "replay"}:
        return RunLimits(deadline=deadline, idle_s=getattr(configured.settings, "settle_s", 0.0) + FOLDER_S)
    if configured.common.kind == "s3":
        return RunLimits(deadline=deadline, idle_s=BUCKET_S)
    if configured.common.kind in RATED:
        return RunLimits(deadline=deadline, images=2, watch_s=WATCH_S, measure_s=MEASURE_S, persistent_s=PERSISTENT_S)
    return RunLimits(deadline=deadline)


def _conclude(trial: SourceTrial, request: TrialRequest, run: SourceRun, failure: Failure | None) -> SourceTrial:
    """Add to a trial what its run has found."""
    trial = replace(trial, dropped=dict(run.dropped), notes=run.notes)
    event = run.event
    if event is None:
        failure = failure or _explain_absence(trial, request, run)
        step = TrialStep(name=failure.step, detail=failure.message, passed=False)
        return replace(trial, steps=(*trial.steps, step), failure=failure)
    configured, arrivals = request.configured, run.arrivals if trial.kind in RATED else ()
    load = estimate_load(
        configured.settings,
        configured.options,
        found_s=(find_stream_interval(trial.stream) if trial.stream else 0.0) or measure_interval(arrivals),
        size_bytes=len(event.data),
        now=time.time(),
    )
    trial = replace(trial, event=event, first_image_s=run.arrivals[0], load=load)
    if not event.data:
        return trial  # it stays in its bucket, and the event only refers to it
    from eaves.sources.trial.picture import read_picture

    try:
        return replace(trial, picture=read_picture(event.data)[0])
    except ImageError as error:
        return replace(trial, failure=Failure(code="unsupported", message=error.message, hint=error.hint or ""))


def _explain_absence(trial: SourceTrial, request: TrialRequest, run: SourceRun) -> Failure:
    """Return why a run has no image, from the reason that the source reported, or from what it did instead."""
    credentials = str(request.configured.common.credentials or "")
    if run.reason and run.end in {"reason", "timeout"}:
        return classify(run.reason, kind=trial.kind, place=trial.place, credentials=credentials)
    if run.dropped:
        causes = ", ".join(f"{cause} {count}" for cause, count in sorted(run.dropped.items()))
        why = f"; {run.notes[-1]}" if run.notes else ""
        return Failure(code="unsupported", message=f"{trial.name} dropped every image ({causes}){why}")
    if place := {"folder": "folder", "replay": "recording", "s3": "bucket"}.get(trial.kind):
        return Failure(
            code="no_image",
            message=f"the {place} {trial.place} has no image",
            hint="copy a .jpg, .png, .webp, .bmp, .tif or .gif file into it",
        )
    if trial.kind == "mqtt":
        topics = ", ".join(request.configured.settings.topics)
        return Failure(
            code="no_image",
            message=f"no message came on {topics} within {request.timeout_s:g} s",
            hint="check the topic and the user's rights; wait longer with --timeout 60",
        )
    if trial.stream is not None:
        return Failure(
            code="no_image",
            message=f"the stream is open ({trial.stream.codec}), and no key frame came within {request.timeout_s:g} s",
            hint="set the interval of key frames (I frames, GOP) to 1 to 4 seconds in the camera, or wait longer with "
            "--timeout 60",
        )
    message = f"no image came from {trial.place or trial.name} within {request.timeout_s:g} s"
    return build_failure("no_image", message, kind=trial.kind, place=trial.place, credentials=credentials)
