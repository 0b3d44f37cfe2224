"""Trial of one source for `eaves sources try`: steps to its server, a run until its first image, the image's figures.

The source runs with the agent's own context, but no event is sent, no spool is opened and nothing is written. The steps
to the server exist because a library's error often doesn't say whether name, port or certificate is wrong.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from PIL import ImageStat

from eaves.admin.report import NOT_STARTED
from eaves.credentials import AUTHORITIES
from eaves.errors import (
    DeliveryError,
    EavesError,
    ForbiddenError,
    ImageError,
    InputError,
    NotFoundError,
    UnreachableError,
)
from eaves.events import Event
from eaves.http_client.explain import CERTIFICATE, CONNECTION, NAME, TLS
from eaves.http_client.proxies import Proxies
from eaves.images.decoder import load
from eaves.reachability import TIMEOUT_S, parse_address, reach
from eaves.redact import redact
from eaves.sources.agent.configuration import ConfiguredSource
from eaves.sources.agent.counters import SourceCounters
from eaves.sources.collecting import NoIndex, run_without_spool
from eaves.sources.kind import FailedStep

TICK_S = 0.05
"""Interval between two looks at the state of the source, seconds."""
DARK, BRIGHT = 24.0, 235.0
"""Mean grey levels below and above which an image is called dark or overexposed."""
FLAT = 4.0
"""Standard deviation of the grey levels below which an image counts as one colour. The noise of a camera behind a lens
cap has 1 to 3; a street at night has more than 10."""
_RETRY_NOTE = re.compile(r"; (?:connecting|it is (?:started|tried)) again.*")
"""End of a reason that says what an agent does next, which a trial doesn't do."""
_FAILURES: tuple[tuple[str, str, type[EavesError], str], ...] = (
    (
        r"refuses (the user|access)|refused the user|asks for a login|status 40[13]|(access|secret) key|session token",
        "login",
        ForbiddenError,
        "",
    ),
    (
        r"status 4(04|10)|[Nn]o such|there is no (file|device)|does not exist|no stream at this|another server",
        "path",
        NotFoundError,
        "",
    ),
    (
        r"isn't trusted|is not trusted|isn't of a trusted",
        "TLS",
        UnreachableError,
        "write the certificate of its authority to ca.crt in a folder that --credentials names",
    ),
    (
        r"can't (be reached|connect)|doesn't answer|was lost|TLS (with|failed)|not open|may not be opened|in use by",
        "connection",
        UnreachableError,
        "check the address, and whether the server is running",
    ),
    (
        r"the stream has no video",
        "video",
        InputError,
        "choose a stream of the camera that has video, in H.264, H.265 or MJPEG",
    ),
    (
        r"is not an image|no video that can be read|stream can't be (read|decoded)|the protocol .* can't",
        "format",
        InputError,
        "open the address in a browser or in VLC, and check that it shows the camera's picture",
    ),
    (
        r"image was complete|a complete image|ended the stream|no data from the camera|no whole frame|stream ended",
        "image",
        DeliveryError,
        "try again; if it fails again, check the camera's network connection",
    ),
    (r"", "image", EavesError, ""),
)
"""Pattern of the reason that a source reports, the step that fails, the error that ends the command, and a hint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialStep:
    """One step of a trial that succeeded, or the one that failed, with a short text without credentials."""

    name: str
    detail: str
    passed: bool = True


class StepError(Exception):
    """The step of a trial that failed, and the error that ends the command."""

    def __init__(self, step: str, error: EavesError) -> None:
        super().__init__(error.message)
        self.step = step
        self.error = error


@dataclass(slots=True, kw_only=True)
class SourceTrial:
    """Result of a trial.

    Attributes:
        name: Name of the source.
        kind: Kind of the source.
        place: Address or path of the source, without credentials.
        steps: Steps in order; the last one may have failed.
        stream: What the source found in its input, a camera in its stream (`Opened`); else empty.
        first_image_s: Seconds from the start of the source to its first image; None without an image.
        event: Event of the first image; None without an image.
        picture: Size, brightness and contrast of the first image, and what they may mean; None when it can't be
            decoded.
        dropped: Numbers of dropped images, by cause.
        failure: Why there is no image; None with an image.
    """

    name: str
    kind: str
    place: str
    steps: list[TrialStep] = field(default_factory=list)
    stream: Mapping[str, Any] = field(default_factory=dict)
    first_image_s: float | None = None
    event: Event | None = None
    picture: dict[str, Any] | None = None
    dropped: Mapping[str, int] = field(default_factory=dict)
    failure: StepError | None = None


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
    kind = configured.kind
    trial = SourceTrial(
        name=configured.common.name,
        kind=configured.common.kind,
        place=redact(str(getattr(configured.settings, kind.place_setting, ""))),
    )
    try:
        for step in _check_servers(configured, proxies, deadline):
            trial.steps.append(step)
        left_s = max(1.0, deadline - time.monotonic())
        report(f"waiting for an image from {trial.name}, at most {left_s:.0f} s; Ctrl-C stops")
        counters = _run(configured, trial, site=site, proxies=proxies, deadline=deadline)
        if trial.event is None:
            raise _explain_absence(trial, configured, counters, timeout_s)
    except StepError as error:
        trial.steps.append(TrialStep(name=error.step, detail=error.error.message, passed=False))
        trial.failure = error
        return trial
    try:
        trial.picture = read_picture(trial.event.data)
    except ImageError as error:
        trial.failure = StepError("format", InputError(error.message, hint=error.hint))
    return trial


def _check_servers(configured: ConfiguredSource, proxies: Proxies, deadline: float) -> Iterator[TrialStep]:
    kind, settings = configured.kind, configured.settings
    proxy = proxies.find(str(getattr(settings, kind.place_setting))) if kind.proxied else None
    if proxy is not None:
        yield TrialStep(name="proxy", detail=f"the connection leads through {redact(proxy.url)}")
        return
    folder = configured.common.credentials
    for address in kind.addresses(settings):
        yield from _check_server(address, folder, max(0.1, min(TIMEOUT_S, deadline - time.monotonic())))


def _check_server(address: str, credentials: Path | None, timeout_s: float) -> Iterator[TrialStep]:
    """Yield each step to a server that succeeds, and raise StepError at the first one that fails.

    Args:
        address: `HOST:PORT`, or `tls://HOST:PORT` with TLS, as in `SourceKind.addresses`.
        credentials: Folder of the source's credentials.
        timeout_s: Time limit of the connection, and again of its handshake, seconds.
    """
    host, port, with_tls = parse_address(address)
    authorities = (
        credentials / AUTHORITIES if credentials else Path(f"{AUTHORITIES} in a folder that --credentials names")
    )
    found = reach(address, str(authorities), timeout_s=timeout_s)
    steps = [("address", host), ("connection", f"TCP port {port} answers"), ("TLS", "the certificate is trusted")]
    passed = {NAME: 0, CONNECTION: 1}.get(found.kind, 2) if found else 2 + with_tls
    for name, detail in steps[:passed]:
        yield TrialStep(name=name, detail=detail)
    if found is None:
        return
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    why = found.reason.removeprefix("its certificate is not trusted: ").removeprefix("TLS failed: ").lower()
    message, hint = {
        NAME: (f"the name {host} is not found", "check the spelling, or use the IP address of the server"),
        CONNECTION: (
            f"can't connect to {where}: {why}",
            f"check that the device is on, and that no firewall is between it and this machine: ping {host}",
        ),
        CERTIFICATE: (
            f"the certificate of {where} is not trusted: {why}",
            f"write the certificate of its authority, or its own if it signs itself, to {authorities}",
        ),
        TLS: (f"TLS with {where} failed: {why}", "check whether the server uses TLS at this port"),
    }[found.kind]
    if "refused" in why:
        hint = f"check the port in the address; nothing listens at {port}"
    elif "mismatch" in why:
        hint = "use a name in the address that the certificate is for"
    elif "expired" in why or "not yet valid" in why:
        hint = "check the clocks of this machine and of the server; the certificate isn't valid now"
    raise StepError(steps[passed][0], UnreachableError(message, hint=hint))


def _run(
    configured: ConfiguredSource, trial: SourceTrial, *, site: str, proxies: Proxies, deadline: float
) -> SourceCounters:
    """Run a source as an agent would, but for the option `hours`, until it has an image, or can't have one.

    Its log is left out. What was found is written into the trial.
    """
    began = time.monotonic()

    def store(event: Event) -> bool:
        if trial.event is None:
            trial.first_image_s, trial.event = time.monotonic() - began, event
        return True

    options = replace(configured.options, hours=())
    logging.disable()
    try:
        with run_without_spool(
            configured, site=site, proxies=proxies, index=NoIndex(), store=store, options=options
        ) as context:
            _wait(configured, trial, context.counters, deadline)
    finally:
        logging.disable(logging.NOTSET)
    trial.stream, trial.dropped = context.facts, context.counters.dropped
    return context.counters


def _wait(configured: ConfiguredSource, trial: SourceTrial, counters: SourceCounters, deadline: float) -> None:
    """Wait until a run has an image, or a reason why it has none."""
    kind, idle_s = configured.kind, configured.kind.idle_s(configured.settings)
    reason, since = "", time.monotonic()
    while (now := time.monotonic()) < deadline and trial.event is None:
        time.sleep(TICK_S)
        if _read_reason(counters) != reason or (counters.state, counters.reason) == NOT_STARTED:
            reason, since = _read_reason(counters), now
        if counters.state == "finished" or now - since >= (kind.persistent_s if reason else idle_s):
            return


def _read_reason(counters: SourceCounters) -> str:
    """Return why a source captures nothing; a dropped image is no reason, because a later one may be captured."""
    known = (counters.state, counters.reason) == NOT_STARTED or counters.state == "finished"
    return "" if known or counters.reason == counters.unusable else counters.reason


def read_picture(data: bytes) -> dict[str, Any]:
    """Return the figures of an encoded image, and in words what they may mean; ImageError when it can't be decoded."""
    image = load(data)
    figures = ImageStat.Stat(image.convert("L"))
    brightness, contrast = round(figures.mean[0], 3), round(figures.stddev[0], 3)
    remark = ""
    if contrast < FLAT:
        remark = "the image is of one colour: check the lens and the cable, or take a second image"
        if brightness < DARK:
            remark = "the image is black: check the light, the lens cap, and the privacy mode of the camera"
        elif brightness > BRIGHT:
            remark = "the image is white: check the exposure of the camera"
    elif not DARK <= brightness <= BRIGHT:
        remark = f"the image is very {'dark' if brightness < DARK else 'bright'}"
    size = {"width": image.width, "height": image.height}
    return {**size, "brightness": brightness, "contrast": contrast, "remark": remark}


def _explain_absence(
    trial: SourceTrial, configured: ConfiguredSource, counters: SourceCounters, timeout_s: float
) -> StepError:
    """Return why a run has no image, from the reason that the source reported, or from what it did instead."""
    credentials, reason = str(configured.common.credentials or ""), _read_reason(counters)
    if not reason and trial.dropped:
        causes = ", ".join(f"{cause} {count}" for cause, count in sorted(trial.dropped.items()))
        why = counters.unusable.replace("every image was dropped: ", "; ")
        return StepError("format", InputError(f"{trial.name} dropped every image ({causes}){why}"))
    message = _RETRY_NOTE.sub("", redact(reason))
    error: type[EavesError] = DeliveryError
    step, hint = "empty", ""
    if reason:
        _, step, error, hint = next(one for one in _FAILURES if re.search(one[0], message))
    else:
        message = f"no image came from {trial.place or trial.name} within {timeout_s:g} s"
    failed = FailedStep(
        name=step, message=message, hint=hint, credentials=credentials, facts=trial.stream, timeout_s=timeout_s
    )
    failed = configured.kind.explain(configured.settings, failed)
    hint = failed.hint
    if step == "login" and not hint:
        hint = _hint_login(failed.message, credentials)
    return StepError("image" if step == "empty" else step, error(redact(failed.message), hint=hint or None))


def _hint_login(message: str, credentials: str) -> str:
    if credentials:
        return f"check the files username and password in {credentials}; many cameras lock an account after 5 attempts"
    if "no user name" in message:
        return "write the files username and password into a folder, and name it with --credentials"
    return "check the user name and the password; --credentials names a folder with the files username and password"
