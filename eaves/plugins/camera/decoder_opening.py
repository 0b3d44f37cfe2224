"""Opens a stream with the options that its protocol needs, and with no other protocol allowed, or says why it can't.

A server's answer may name further addresses. FFmpeg would open a local file that an answer names; the list of allowed
protocols forbids that. TLS certificates are always verified.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import av
import av.logging
from av.container import InputContainer
from av.stream import Discard
from av.video.stream import VideoStream

from eaves.plugins.camera.messages import EndCode, Ended, StreamRequest

MAX_PIXELS = 50_000_000
"""Maximum number of pixels of a frame. The value is `eaves.images.MAX_PIXELS`, which functions refuse images above;
that package isn't imported here, because each decoder would hold it in memory."""
MAX_LINES = 200
_PROTOCOLS: Mapping[str, str] = {
    "rtsp": "rtp,udp,tcp,rtsp",
    "rtsps": "rtp,udp,tcp,tls,srtp,rtsps",
    "rtmp": "rtmp,tcp",
    "rtmps": "rtmps,tls,tcp",
    "http": "http,tcp",
    "https": "https,tls,tcp",
    "": "file",
}
_FORMATS: Mapping[str, str] = {"rtsp": "rtsp", "rtsps": "rtsp", "rtmp": "flv", "rtmps": "flv"}
_HTTP_FORMATS = "mpjpeg,mjpeg,mpegts,flv,live_flv"
_FILE_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,mjpeg,mpjpeg,h264,hevc"
_DEVICES = "/dev/"
_PORTS = {"rtsp": 554, "rtsps": 322}
_REDIRECT = ": Redirecting to "
"""Text of FFmpeg's log before it follows a redirect of RTSP. Source: libavformat/rtsp.c, ff_rtsp_connect."""
_LOGGED: Mapping[str, tuple[EndCode, str]] = {
    "certificate failed verification": ("untrusted", ""),
    "owner does not match hostname": ("untrusted", ""),
    "authentication failed": ("refused_login", ""),
    "authmod=": ("refused_login", ""),
    "resolve hostname": ("unreachable", "its name is not known"),
}
"""Texts of FFmpeg's log that say more than its errors: a refused certificate is EIO, and RTMP has no status of a
refused login. Source: libavformat/tls_gnutls.c, rtmpproto.c."""
_SENTENCES: Mapping[EndCode, str] = {
    "unreachable": "the camera can't be reached",
    "refused_login": "the camera refused the user name or password",
    "untrusted": "the certificate of the camera isn't of a trusted authority, or is of another name",
    "not_found": "the camera has no stream at this address",
    "no_video": "the stream has no video",
    "unsupported": "the format of the stream can't be read",
    "broken": "the camera ended the stream",
}
_CODES: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], EndCode], ...] = (
    ((av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError), "refused_login"),
    ((av.error.HTTPNotFoundError, FileNotFoundError), "not_found"),
    ((EOFError, MemoryError), "broken"),
    ((av.error.HTTPError, av.error.ExitError, TimeoutError, ConnectionError), "unreachable"),
    ((av.error.DecoderNotFoundError, av.error.DemuxerNotFoundError, av.error.PatchWelcomeError), "unsupported"),
    ((av.error.ProtocolNotFoundError, av.error.OptionNotFoundError, NotImplementedError), "unsupported"),
)
_UNREACHABLE = {errno.EIO, errno.EHOSTUNREACH, errno.ENETUNREACH}
_NO_FILE: tuple[EndCode, str] = ("not_found", "there is no such file or device")
_LOCAL: Mapping[int | None, tuple[EndCode, str]] = {
    errno.ENOENT: _NO_FILE,
    errno.ENODEV: _NO_FILE,
    errno.ENXIO: _NO_FILE,
    errno.EACCES: ("unreachable", "the file or device may not be opened by this user (see the group `video`)"),
    errno.EBUSY: ("unreachable", "the device is in use by another program"),
}


class StreamError(Exception):
    """A stream can't be read, or can't be read any more.

    Args:
        code: Reason, as the parent's decision needs it.
        message: The reason as a sentence; empty for the usual one of the code.
    """

    def __init__(self, code: EndCode, message: str = "") -> None:
        super().__init__(message)
        self.failed = Ended(code=code, message=message or _SENTENCES[code])


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenStream:
    """A stream that is open.

    Attributes:
        container: PyAV's container; one thread uses and closes it.
        video: The video stream that is read.
        is_file: Whether the stream is a file, which has an end and a speed of its own.
        passes_on: Whether the stream's packets are JPEG images, which aren't decoded.
    """

    container: InputContainer
    video: VideoStream
    is_file: bool
    passes_on: bool


def open_stream(request: StreamRequest, finish: Callable[[Ended], None]) -> OpenStream:
    """Open the stream and choose its video.

    Args:
        request: What the parent asks for.
        finish: Writes the last message to the parent.

    Raises:
        StreamError: When it can't be opened, or has no video that can be decoded.
    """
    deadline = time.monotonic() + request.connect_timeout_s
    scheme = urlsplit(request.url).scheme if "://" in request.url else ""
    if scheme not in _PROTOCOLS:
        raise StreamError("unsupported", f"the protocol {scheme} can't be read")
    is_device = not scheme and request.url.startswith(_DEVICES)
    with LibraryLog(request.url, finish) as log:
        try:
            container = _open_device(request) if is_device else _open(request, scheme)
        except Exception as error:
            in_time = time.monotonic() < deadline
            if in_time and isinstance(error, av.error.InvalidDataError) and _has_only_audio(request, scheme):
                raise StreamError("no_video") from error
            raise _explain(error, log.lines, scheme, in_time=in_time) from error
    video = _choose_video(container)
    context = video.codec_context
    context.thread_count, context.thread_type = 1, "NONE"
    context.options = {**context.options, "max_pixels": str(MAX_PIXELS)}
    return OpenStream(
        container=container,
        video=video,
        is_file=not scheme and not is_device,
        passes_on=context.name == "mjpeg",
    )


def explain_read_error(error: Exception) -> Ended:
    """Return the message about a stream that broke off."""
    return error.failed if isinstance(error, StreamError) else _build_error("broken", _detail(error)).failed


def _open(request: StreamRequest, scheme: str) -> InputContainer:
    name = request.url if scheme else f"file:{request.url}"  # a name such as a:b would be taken for a protocol
    # FFmpeg takes JPEG images one after the other for a picture, whatever the name, so the name decides here.
    is_mjpeg = not scheme and request.url.lower().endswith((".mjpeg", ".mjpg"))
    return _call(request, name, "mjpeg" if is_mjpeg else _FORMATS.get(scheme), _build_options(request, scheme))


def _has_only_audio(request: StreamRequest, scheme: str) -> bool:
    """Return whether a stream of RTSP that can't be opened has audio; FFmpeg has no error for one without video."""
    if not scheme.startswith("rtsp"):
        return False
    options = {**_build_options(request, scheme), "allowed_media_types": "audio"}
    with contextlib.suppress(av.error.FFmpegError):
        _call(request, request.url, _FORMATS[scheme], options).close()
        return True
    return False


def _open_device(request: StreamRequest) -> InputContainer:
    """Open a V4L2 device: its JPEG images as they are, if it has them, else its pixels."""
    try:
        return _call(request, request.url, "v4l2", {"input_format": "mjpeg"})
    except (ValueError, OSError):
        return _call(request, request.url, "v4l2", {})


def _call(request: StreamRequest, name: str, format_name: str | None, options: dict[str, str]) -> InputContainer:
    return av.open(name, format=format_name, options=options, timeout=(request.connect_timeout_s, None))


def _build_options(request: StreamRequest, scheme: str) -> dict[str, str]:
    """Return FFmpeg's options for a protocol.

    They have no time limit: FFmpeg's would hold for reading, too, where the parent decides how long a camera may be
    silent.
    """
    options = {"protocol_whitelist": _PROTOCOLS[scheme], "max_pixels": str(MAX_PIXELS)}
    if scheme in {"rtsp", "rtsps"}:
        options |= {
            "rtsp_transport": request.transport,
            "allowed_media_types": "video",
            "probesize": "32",  # what the server describes is enough; the first frame gives the rest
            "analyzeduration": "1",
            "fpsprobesize": "0",
        }
        if request.transport == "udp":
            options |= {"buffer_size": "4000000", "max_delay": "200000"}
    elif scheme in {"rtmp", "rtmps"}:
        options |= {"rtmp_live": "live", "analyzeduration": "500000", "fpsprobesize": "0"}
    elif scheme in {"http", "https"}:
        options |= {"format_whitelist": _HTTP_FORMATS, "max_redirects": "0", "seekable": "0"}
        options |= {"analyzeduration": "500000", "fpsprobesize": "0"}
    else:
        options |= {"format_whitelist": _FILE_FORMATS}
    if scheme in {"rtsps", "rtmps", "https"}:
        options |= {"tls_verify": "1", "ca_file": request.authorities}
        if request.certificate:
            options |= {"cert_file": request.certificate, "key_file": request.key}
    return options


def _choose_video(container: InputContainer) -> VideoStream:
    """Return the first video stream that is no cover, and leave out all others."""
    videos = container.streams.video
    chosen = next((one for one in videos if not one.disposition & one.disposition.attached_pic), None)
    for stream in container.streams:
        if stream is not chosen:
            stream.discard = Discard.all
    if chosen is None:
        raise StreamError("no_video")
    if getattr(chosen, "codec_context", None) is None:
        raise StreamError("unsupported", "the codec of the stream can't be decoded")
    return chosen


def _explain(error: Exception, log: deque[str], scheme: str, *, in_time: bool) -> StreamError:
    """Return why a stream could not be opened.

    Args:
        error: Exception of PyAV.
        log: Lines of FFmpeg's log since opening began.
        scheme: Protocol of the address; empty for a file or a device.
        in_time: Whether the error came before the time limit of a connection.
    """
    number = getattr(error, "errno", None)
    if not scheme:
        return StreamError(*_LOCAL.get(number, ("unsupported", "the file or device has no video that can be read")))
    lines = " ".join(log).lower()
    for text, (code, detail) in _LOGGED.items():
        if text in lines:
            return _build_error(code, detail)
    if not in_time:
        return _build_error("unreachable", "it didn't answer in time")
    for kinds, code in _CODES:
        if isinstance(error, kinds):
            return _build_error(code, _detail(error) if code in {"unreachable", "broken"} else "")
    if number in _UNREACHABLE:
        moved = "it breaks off its answer, or refers to another address, which is not asked; give that address"
        return _build_error("unreachable", moved if number == errno.EIO and scheme.startswith("http") else "")
    if scheme.startswith("rt"):  # RTSP and RTMP: a connection that ends within an answer is invalid data, too
        return _build_error("unreachable", f"it closed the connection, or doesn't speak {scheme}")
    return _build_error("unsupported", "its answer is no video stream that can be read")


def _detail(error: Exception) -> str:
    """Return the library's own words where they add something, without the address, which has the password."""
    if isinstance(error, av.error.ExitError):
        return "it didn't answer in time"
    if isinstance(error, MemoryError):
        return "it needs more memory than a decoder may use"
    return str(error.strerror or "").lower() if isinstance(error, av.error.FFmpegError) else ""


def _build_error(code: EndCode, detail: str) -> StreamError:
    return StreamError(code, _SENTENCES[code] + (f": {detail}" if detail else ""))


class LibraryLog(logging.Handler):
    """Keeps the last lines of FFmpeg's log while it is entered, and ends the process before a redirect to a stranger.

    FFmpeg follows a redirect of RTSP without asking, and sends the user name and password of the first address to the
    second one, by any protocol. It has no option against that, but it logs a redirect before it connects.

    Args:
        url: Address of the stream with its credentials.
        finish: Writes the last message to the parent.
    """

    def __init__(self, url: str, finish: Callable[[Ended], None]) -> None:
        super().__init__()
        self.lines: deque[str] = deque(maxlen=MAX_LINES)
        self._url, self._finish = url, finish

    def __enter__(self) -> LibraryLog:
        logger = logging.getLogger("libav")
        logger.propagate = False
        logger.setLevel(logging.INFO)
        logger.addHandler(self)
        av.logging.set_level(av.logging.INFO)
        av.logging.set_skip_repeated(False)
        return self

    def __exit__(self, *_: object) -> None:
        av.logging.set_level(None)  # a damaged stream writes a line for each packet
        logging.getLogger("libav").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line; end the process before it connects to a server that the settings don't name."""
        line = record.getMessage()
        self.lines.append(line)
        _, found, target = line.partition(_REDIRECT)
        if found and not is_same_server(self._url, target.strip()):
            message = "the camera refers to another server, which is not asked; give that server's address"
            self._finish(Ended(code="not_found", message=message))
            os._exit(0)


def is_same_server(url: str, other: str) -> bool:
    """Return whether two addresses of RTSP have the same protocol, host and port."""
    try:
        parts = [urlsplit(one) for one in (url, other)]
        found = [(one.scheme, one.hostname, one.port or _PORTS.get(one.scheme)) for one in parts]
    except ValueError:
        return False
    return found[0] == found[1]
