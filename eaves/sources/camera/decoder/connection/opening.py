"""Opens a stream with the options that its protocol needs, and with no other protocol allowed.

A server's answer may name further addresses. FFmpeg would open a local file that an answer names; the list of allowed
protocols forbids that. TLS certificates are always verified.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import av
from av.container import InputContainer
from av.stream import Discard
from av.video.stream import VideoStream

from eaves.sources.camera.decoder.connection.failures import StreamError
from eaves.sources.camera.wire import StreamRequest

MAX_PIXELS = 50_000_000
"""Maximum number of pixels of a frame. The value is `eaves.images.MAX_PIXELS`, which functions refuse images above;
that package isn't imported here, because each decoder would hold it in memory."""
_SYSTEM_AUTHORITIES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
"""Files with the certificate authorities of Debian, Fedora, and Alpine."""
_PROTOCOLS: Mapping[str, str] = {
    "rtsp": "rtp,udp,tcp,rtsp",
    "rtsps": "rtp,udp,tcp,tls,srtp,rtsps",
    "rtmp": "rtmp,tcp",
    "rtmps": "rtmps,tls,tcp",
    "http": "http,tcp",
    "https": "https,tls,httpproxy,tcp",
    "": "file",
}
"""`httpproxy` is FFmpeg's name of a tunnel through the proxy in its environment. Source: libavformat/tls.c."""
_FORMATS: Mapping[str, str] = {"rtsp": "rtsp", "rtsps": "rtsp", "rtmp": "flv", "rtmps": "flv"}
_HTTP_FORMATS = "mpjpeg,mjpeg,mpegts,flv,live_flv"
_FILE_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,mjpeg,mpjpeg,h264,hevc"
_WITHOUT_TIMES = frozenset({"mpjpeg", "mjpeg", "h264", "hevc"})
_DEVICES = "/dev/"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenStream:
    """A stream that is open.

    Attributes:
        container: PyAV's container; one thread uses and closes it.
        video: The video stream that is read.
        is_file: Whether the stream is a file, which has an end and a speed of its own.
        is_parsed: Whether a frame is known to be complete only once the next one begins, as in RTSP.
        has_times: Whether frames have times of the camera; FFmpeg invents those of MJPEG over HTTP.
    """

    container: InputContainer
    video: VideoStream
    is_file: bool
    is_parsed: bool
    has_times: bool

    @property
    def passes_on(self) -> bool:
        """Whether the stream's packets are JPEG images, which aren't decoded."""
        return self.video.codec_context.name == "mjpeg"


def open_stream(request: StreamRequest) -> OpenStream:
    """Open the stream and choose its video.

    Raises:
        StreamError: When it has no video that can be decoded.
        av.error.FFmpegError: When it can't be opened; `failures.explain_open_error` says why.
    """
    scheme = find_scheme(request.url)
    if scheme and scheme not in _PROTOCOLS:
        raise StreamError("unsupported", f"the protocol {scheme} can't be read")
    is_device = not scheme and request.url.startswith(_DEVICES)
    container = _open_device(request) if is_device else _open(request, scheme)
    video = _choose_video(container)
    context = video.codec_context
    context.thread_count, context.thread_type = 1, "NONE"
    context.options = {**context.options, "max_pixels": str(MAX_PIXELS)}
    return OpenStream(
        container=container,
        video=video,
        is_file=not scheme and not is_device,
        is_parsed=scheme.startswith("rtsp"),
        has_times=container.format.name not in _WITHOUT_TIMES,
    )


def find_scheme(url: str) -> str:
    """Return the protocol of an address; empty for the path of a file or device."""
    return urlsplit(url).scheme if "://" in url else ""


def build_options(request: StreamRequest, scheme: str) -> dict[str, str]:
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
        options |= {"format_whitelist": _HTTP_FORMATS, "max_redirects": "3", "seekable": "0"}
        options |= {"analyzeduration": "500000", "fpsprobesize": "0"}
    else:
        options |= {"format_whitelist": _FILE_FORMATS}
    if scheme in {"rtsps", "rtmps", "https"}:
        options |= {"tls_verify": "1", "ca_file": request.authorities or find_system_authorities()}
        if request.certificate:
            options |= {"cert_file": request.certificate, "key_file": request.key}
    return options


def find_system_authorities() -> str:
    """Return the path of the file with the system's certificate authorities; empty, which trusts none, without one."""
    candidates = (ssl.get_default_verify_paths().cafile or "", *_SYSTEM_AUTHORITIES)
    return next((path for path in candidates if path and Path(path).is_file()), "")


def _open(request: StreamRequest, scheme: str) -> InputContainer:
    if not scheme and not Path(request.url).exists():
        raise StreamError("not_found", "there is no such file or device")
    name = request.url if scheme else f"file:{request.url}"  # a name such as a:b would be taken for a protocol
    # FFmpeg takes JPEG images one after the other for a picture, whatever the name, so the name decides here.
    is_mjpeg = not scheme and request.url.lower().endswith((".mjpeg", ".mjpg"))
    return _call(name, "mjpeg" if is_mjpeg else _FORMATS.get(scheme), build_options(request, scheme), request)


def _open_device(request: StreamRequest) -> InputContainer:
    """Open a V4L2 device: its JPEG images as they are, if it has them, else its pixels."""
    if not Path(request.url).exists():
        raise StreamError("not_found", "there is no such file or device")
    try:
        return _call(request.url, "v4l2", {"input_format": "mjpeg"}, request)
    except (ValueError, OSError):
        return _call(request.url, "v4l2", {}, request)


def _call(name: str, format_name: str | None, options: dict[str, str], request: StreamRequest) -> InputContainer:
    return av.open(name, format=format_name, options=options, timeout=(request.connect_timeout_s, None))


def _choose_video(container: InputContainer) -> VideoStream:
    """Return the first video stream and leave out all others."""
    chosen = next((stream for stream in container.streams.video if not _is_cover(stream)), None)
    for stream in container.streams:
        if stream is not chosen:
            stream.discard = Discard.all
    if chosen is None:
        raise StreamError("no_video")
    if getattr(chosen, "codec_context", None) is None:
        raise StreamError("unsupported", "the codec of the stream can't be decoded")
    return chosen


def _is_cover(stream: VideoStream) -> bool:
    return bool(stream.disposition & stream.disposition.attached_pic)
