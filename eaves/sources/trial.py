"""Trial of one source for `eaves sources try`: steps to its server, a run until its first image, the image's figures.

The source runs with the agent's own context, but no event is sent, no spool is opened and nothing is written. The steps
to the server exist because a library's error often doesn't say whether name, port or certificate is wrong.
"""

from __future__ import annotations

import logging
import re
import shlex
import socket
import ssl
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from PIL import ImageStat

from eaves.credentials.folder import Credentials, read_credentials
from eaves.credentials.redact import redact
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
from eaves.http_client.connection_errors import describe_os_error
from eaves.http_client.proxies import Proxies
from eaves.http_client.trust import build_tls_context
from eaves.images.decoder import load
from eaves.reachability import parse_address
from eaves.sources.agent.configuration import ConfiguredSource
from eaves.sources.agent.context import AgentContext
from eaves.sources.agent.counters import NOT_STARTED
from eaves.sources.agent.supervision import SupervisedSource, stop_sources
from eaves.sources.options.settings import parse_hours, parse_interval_ns
from eaves.sources.settings import ATTRIBUTES_BYTES

CONNECT_S = 5.0
"""Time limit of a connection to a server, and again of its handshake, seconds."""
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
RTSP_PATHS = (
    "/Streaming/Channels/101 (Hikvision), /cam/realmonitor?channel=1&subtype=0 (Dahua), "
    "/axis-media/media.amp (Axis), /h264Preview_01_main (Reolink)"
)
"""Usual paths of RTSP streams, as installers list them; not taken from the makers' own pages."""
SNAPSHOT_PATHS = (
    "/ISAPI/Streaming/channels/101/picture (Hikvision), /cgi-bin/snapshot.cgi (Dahua), /axis-cgi/jpg/image.cgi (Axis)"
)
"""Usual paths of snapshots over HTTP, as installers list them; not taken from the makers' own pages."""
_AGAIN = re.compile(r"; (?:connecting|it is (?:started|tried)) again.*")
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
    (
        r"PyAV is not installed",
        "decoder",
        EavesError,
        "python -m pip install '.[camera]'   # in a checkout of Eaves",
    ),
    (r"", "image", EavesError, ""),
)
"""Pattern of the reason that a source reports, the step that fails, the error that ends the command, and a hint."""
_LOCAL_HINTS = {
    "path": "ls -l {place}; v4l2-ctl --list-devices lists the cameras of this machine",
    "connection": "ls -l {place}; a device belongs to the group video: sudo usermod -aG video $USER",
    "format": "check that a player such as VLC shows the file",
    "video": "choose a file that has video",
    "image": "check that a player such as VLC shows the file to its end",
}
"""Hints about a video file or a device, by step."""


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
        stream: What the source found in its input, a camera in its stream (`Opened`), and `opened_s`; else empty.
        first_image_s: Seconds from the start of the source to its first image; None without an image.
        event: Event of the first image; None without an image.
        picture: Size, brightness and contrast of the first image, and what they may mean; None when it can't be
            decoded.
        interval_s: Minimum time between two images that the source will send, seconds; 0 when it isn't known.
        within_hours: Whether the option `hours` allows captures now.
        dropped: Numbers of dropped images, by cause.
        failure: Why there is no image; None with an image.
    """

    name: str
    kind: str
    place: str
    steps: list[TrialStep] = field(default_factory=list)
    stream: dict[str, Any] = field(default_factory=dict)
    first_image_s: float | None = None
    event: Event | None = None
    picture: dict[str, Any] | None = None
    interval_s: float = 0.0
    within_hours: bool = True
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
    options, settings = configured.options, configured.settings
    hours = parse_hours(options.hours, options.time_zone)
    places = (getattr(settings, name, None) for name in ("url", "path", "bucket"))
    trial = SourceTrial(
        name=configured.common.name,
        kind=configured.common.kind,
        place=redact(str(next(filter(None, places), ""))),
        within_hours=hours is None or hours.contain(time.time_ns()),
    )
    try:
        for step in _check_servers(configured, proxies, deadline):
            trial.steps.append(step)
        left_s = max(1.0, deadline - time.monotonic())
        report(f"waiting for an image from {trial.name}, at most {left_s:.0f} s; Ctrl-C stops")
        run = SourceRun(configured, site, proxies)
        run.run(deadline)
        trial.stream, trial.dropped, trial.event = run.stream, run.counters.dropped, run.event
        if run.event is None:
            raise _explain_absence(trial, configured, run, timeout_s)
    except StepError as error:
        trial.steps.append(TrialStep(name=error.step, detail=error.error.message, passed=False))
        trial.failure = error
        return trial
    trial.first_image_s, trial.interval_s = run.times[0], run.find_interval()
    if run.event.data:  # else it stays in its bucket, and the event only refers to it
        try:
            trial.picture = read_picture(run.event.data)
        except ImageError as error:
            trial.failure = StepError("format", InputError(error.message, hint=error.hint))
    return trial


def _check_servers(configured: ConfiguredSource, proxies: Proxies, deadline: float) -> Iterator[TrialStep]:
    proxy = proxies.find(str(getattr(configured.settings, "url", "")))
    if proxy is not None and configured.common.kind != "camera":
        yield TrialStep(name="proxy", detail=f"the connection leads through {redact(proxy.url)}")
        return
    folder = configured.common.credentials
    credentials = read_credentials(folder)
    for address in configured.kind.addresses(configured.settings):
        yield from check_server(address, credentials, deadline=deadline, folder=str(folder or ""))


def check_server(address: str, credentials: Credentials, *, deadline: float, folder: str) -> Iterator[TrialStep]:
    """Yield each step to a server that succeeds, and raise StepError at the first one that fails.

    Args:
        address: `HOST:PORT`, or `tls://HOST:PORT` with TLS, as in `SourceKind.addresses`.
        credentials: Credentials of the source.
        deadline: Monotonic time at which the trial ends, seconds.
        folder: Folder of the credentials, for hints.
    """
    host, port, with_tls = parse_address(address)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0]
    except (OSError, UnicodeError) as error:
        message, hint = f"the name {host} is not found", "check the spelling, or use the IP address of the server"
        if isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN:
            message = f"the name server didn't answer for {host}"
            hint = "use the IP address of the server, or check this machine's DNS"
        raise StepError("address", UnreachableError(message, hint=hint)) from error
    yield TrialStep(name="address", detail=host if found == host else f"{host} is {found}")
    began = time.monotonic()
    try:
        connection = socket.create_connection((host, port), max(0.1, min(CONNECT_S, deadline - began)))
    except OSError as error:
        hint = f"check that the device is on, and that no firewall is between it and this machine: ping {host}"
        if isinstance(error, ConnectionRefusedError):
            hint = f"check the port in the address; nothing listens at {port}"
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        message = f"can't connect to {where}: {describe_os_error(error)}"
        raise StepError("connection", UnreachableError(message, hint=hint)) from error
    with connection:
        took_ms = (time.monotonic() - began) * 1_000
        took = f"{took_ms:.0f} ms" if took_ms >= 1 else "less than 1 ms"
        yield TrialStep(name="connection", detail=f"TCP port {port} answers in {took}")
        if with_tls:
            try:
                detail = _shake_hands(connection, host, port, credentials, folder)
            except UnreachableError as error:
                raise StepError("TLS", error) from error
            yield TrialStep(name="TLS", detail=detail)


def _shake_hands(connection: socket.socket, host: str, port: int, credentials: Credentials, folder: str) -> str:
    """Make the TLS handshake; an alert counts as an answer, because the server may want a client's certificate.

    Source of the codes: OpenSSL, x509_vfy.h: 62 and 64 are another host name or address, 9 and 10 a time outside the
    validity.
    """
    try:
        context = build_tls_context(credentials.authorities_pem)
    except ValueError as error:
        raise UnreachableError(f"ca.crt can't be used: {error}", hint=f"ls -l {folder or 'CREDENTIALS'}") from error
    try:
        if credentials.certificate and credentials.key:
            context.load_cert_chain(credentials.certificate, credentials.key)
        with context.wrap_socket(connection, server_hostname=host) as wrapped:
            return f"{wrapped.version()}; the certificate is trusted"
    except ssl.SSLCertVerificationError as error:
        where = f"{folder}/ca.crt" if folder else "ca.crt in a folder that --credentials names"
        hint = f"write the certificate of its authority, or its own if it signs itself, to {where}"
        if error.verify_code in {62, 64}:
            hint = "use a name in the address that the certificate is for"
        if error.verify_code in {9, 10}:
            hint = "check the clocks of this machine and of the server; the certificate isn't valid now"
        message = f"the certificate of {host}:{port} is not trusted: {error.verify_message}"
        raise UnreachableError(message, hint=hint) from error
    except OSError as error:
        reason = error.reason or error if isinstance(error, ssl.SSLError) else describe_os_error(error)
        if "ALERT" in str(reason):
            return "the server asks for a certificate of the client"
        message, hint = f"TLS with {host}:{port} failed: {reason}", "check whether the server uses TLS at this port"
        raise UnreachableError(message, hint=hint) from error


class SourceRun:
    """Runs a source exactly as an agent would, except that the option `hours` is left out.

    Attributes:
        event: Event of the first image; None without an image.
        times: Time of each image since the start, seconds.
        counters: Counters and state of the source.
    """

    def __init__(self, configured: ConfiguredSource, site: str, proxies: Proxies) -> None:
        self._configured = configured
        self._began = time.monotonic()
        self._opened_s = 0.0
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
        source = SupervisedSource(partial(self._configured.kind.run, self._configured.settings), self._context)
        logging.disable()
        source.start()
        try:
            self._wait(deadline)
        finally:
            stop_sources([source])
            logging.disable(logging.NOTSET)

    @property
    def stream(self) -> dict[str, Any]:
        """What the source found in its input, such as a video stream; empty when it has said nothing."""
        stream = dict(self._context.facts)
        if stream:
            keys_only = stream.get("decoding") == "key" and not self._configured.settings.every_s
            stream["key_interval_s"] = self._measure_interval() if keys_only else 0.0
            stream["opened_s"] = min([self._opened_s, *self.times[:1]])
        return stream

    def find_interval(self) -> float:
        """Return the minimum time between two images, seconds; 0 when nothing is known about it, as for a folder.

        It is the one that was found, but at least the setting `every_s` of the kind and that of the option `rate`.
        """
        stream, configured = self._context.facts, self._configured
        interval_s = self._measure_interval()
        if stream.get("rate") and stream.get("decoding") in ("none", "all"):
            interval_s = 1 / stream["rate"]
        if configured.common.kind != "s3":  # its interval is that of its listing
            interval_s = max(interval_s, getattr(configured.settings, "every_s", 0.0))
        return max(interval_s, parse_interval_ns(configured.options.rate) / 1e9) if interval_s else 0.0

    def _measure_interval(self) -> float:
        """Return the mean time between images in seconds, with two digits at most; 0 with fewer than two images."""
        if len(self.times) < 2 or self._configured.common.kind not in RATED:
            return 0.0
        mean_s = (self.times[-1] - self.times[0]) / (len(self.times) - 1)
        return round(mean_s, 1) if mean_s >= 0.95 else float(f"{mean_s:.2g}")

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
            if not self._opened_s and self._context.facts:
                self._opened_s = now - self._began
            if self.reason != reason or (counters.state, counters.reason) == NOT_STARTED:
                reason, since = self.reason, now
            if self.times:
                watched_s = now - self._began - self.times[0]
                if kind not in RATED or watched_s >= (MEASURE_S if len(self.times) > 1 else WATCH_S):
                    return
            elif counters.state == "finished" or now - since >= (persistent_s if reason else idle_s):
                return


class _NoIndex:
    """Implements `eaves.sources.context.SentIndex`: no image counts as sent before."""

    added = 0

    def seen(self, source: str, event_id: str) -> bool:
        return False

    def remember(self, source: str, event_ids: Collection[str]) -> None:
        pass

    def touch(self, source: str, event_ids: Collection[str]) -> int:
        return 0

    def forget(self, before: float) -> int:
        return 0


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


def _explain_absence(trial: SourceTrial, configured: ConfiguredSource, run: SourceRun, timeout_s: float) -> StepError:
    """Return why a run has no image, from the reason that the source reported, or from what it did instead."""
    if run.reason:
        reason = _AGAIN.sub("", redact(run.reason))
        return explain(reason, trial.kind, trial.place, str(configured.common.credentials or ""))
    if trial.dropped:
        causes = ", ".join(f"{cause} {count}" for cause, count in sorted(trial.dropped.items()))
        why = run.counters.unusable.replace("every image was dropped: ", "; ")
        return StepError("format", InputError(f"{trial.name} dropped every image ({causes}){why}"))
    message, hint = f"no image came from {trial.place or trial.name} within {timeout_s:g} s", ""
    if place := {"folder": "folder", "replay": "recording", "s3": "bucket"}.get(trial.kind):
        message = f"the {place} {trial.place} has no image"
        hint = "copy a .jpg, .png, .webp, .bmp, .tif or .gif file into it"
    elif trial.kind == "mqtt":
        message = f"no message came on {', '.join(configured.settings.topics)} within {timeout_s:g} s"
        hint = "check the topic and the user's rights; wait longer with --timeout 60"
    elif "codec" in trial.stream:
        message = f"the stream is open ({trial.stream['codec']}), and no key frame came within {timeout_s:g} s"
        hint = (
            "set the interval of key frames (I frames, GOP) to 1 to 4 seconds in the camera, or wait longer with "
            "--timeout 60"
        )
    return StepError("image", DeliveryError(message, hint=hint or None))


def explain(reason: str, kind: str, place: str, credentials: str) -> StepError:
    """Return the step that failed and what to do, found from the reason that a source reports.

    Args:
        reason: Reason, as `eaves status` shows it too.
        kind: Kind of the source.
        place: Address or path of the source.
        credentials: Folder of the source's credentials; empty without one.
    """
    _, step, error, hint = next(one for one in _FAILURES if re.search(one[0], reason))
    if step == "login":
        if kind == "camera" and not credentials and "@" not in place:
            reason = "the camera asks for a login, and there is no user name"
        hint = _hint_login(reason, kind, credentials)
    elif kind == "camera" and "://" not in place:
        hint = _LOCAL_HINTS.get(step, hint).format(place=shlex.quote(place))
    elif step == "path" and (paths := {"camera": RTSP_PATHS, "http": SNAPSHOT_PATHS}.get(kind)):
        hint = f"check the path of the address; usual ones: {paths}"
    return StepError(step, error(reason, hint=hint or None))


def _hint_login(message: str, kind: str, credentials: str) -> str:
    if kind == "s3":
        where = credentials or "a folder that --credentials names"
        return f"check the files access_key and secret_key in {where}, and the rights of the key"
    if credentials:
        return f"check the files username and password in {credentials}; many cameras lock an account after 5 attempts"
    if "no user name" in message:
        return "write the files username and password into a folder, and name it with --credentials"
    return "check the user name and the password; --credentials names a folder with the files username and password"
