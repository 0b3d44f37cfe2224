"""The reasons why a stream can't be read, as the parent's codes and as sentences."""

from __future__ import annotations

import errno
from collections.abc import Iterable

import av

from eaves.sources.camera.wire import Failed, FailureCode

_UNTRUSTED = ("certificate failed verification", "owner does not match hostname")
"""Texts of FFmpeg's log when it refuses a certificate; the error itself is EIO. Source: libavformat/tls_gnutls.c."""
_REFUSED = ("authentication failed", "authmod=")
"""Texts of FFmpeg's log when an RTMP server refuses a login, which RTMP has no status for."""
_SENTENCES: dict[FailureCode, str] = {
    "unreachable": "the camera can't be reached",
    "refused_login": "the camera refused the user name or password",
    "untrusted": "the certificate of the camera isn't of a trusted authority, or is of another name",
    "not_found": "the camera has no stream at this address",
    "no_video": "the stream has no video",
    "unsupported": "the format of the stream can't be read",
    "broken": "the camera ended the stream",
}
_CODES: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], FailureCode], ...] = (
    ((av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError), "refused_login"),
    (av.error.HTTPNotFoundError, "not_found"),
    (FileNotFoundError, "not_found"),
    ((EOFError, MemoryError), "broken"),
    (av.error.HTTPError, "unreachable"),
    ((av.error.ExitError, TimeoutError, ConnectionError), "unreachable"),
    ((av.error.DecoderNotFoundError, av.error.DemuxerNotFoundError, av.error.PatchWelcomeError), "unsupported"),
    ((av.error.ProtocolNotFoundError, av.error.OptionNotFoundError, NotImplementedError), "unsupported"),
)
_TIMED_OUT = "it didn't answer in time"
_UNREACHABLE = {errno.EIO, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENODEV, errno.ENXIO, errno.EBUSY}


class StreamError(Exception):
    """A stream can't be read, or can't be read any more.

    Args:
        code: Reason, as the parent's decision needs it.
        message: The reason as a sentence; empty for the usual one of the code.
    """

    def __init__(self, code: FailureCode, message: str = "") -> None:
        super().__init__(message or _SENTENCES[code])
        self.code: FailureCode = code


def explain_open_error(error: BaseException, log: Iterable[str], *, scheme: str, in_time: bool) -> Failed:
    """Return the message about a stream that could not be opened.

    Args:
        error: Exception of PyAV.
        log: Lines of FFmpeg's log since opening began.
        scheme: Protocol of the address; empty for a file or a device.
        in_time: Whether the error came before the time limit of a connection.
    """
    if isinstance(error, StreamError):
        return Failed(code=error.code, message=str(error))
    lines = " ".join(log).lower()
    if any(text in lines for text in _UNTRUSTED):
        return _failed("untrusted")
    if any(text in lines for text in _REFUSED):
        return _failed("refused_login")
    if not scheme:
        return _explain_local(error)
    if not in_time:
        return _failed("unreachable", _TIMED_OUT)
    if "resolve hostname" in lines:
        return _failed("unreachable", "its name is not known")
    return _explain_remote(error, scheme)


def _explain_remote(error: BaseException, scheme: str) -> Failed:
    for kinds, code in _CODES:
        if isinstance(error, kinds):
            return _failed(code, _detail(error, code))
    if isinstance(error, OSError) and error.errno in _UNREACHABLE:
        return _failed("unreachable")
    if scheme.startswith("rt"):  # RTSP and RTMP: a connection that ends within an answer is invalid data, too
        return _failed("unreachable", f"it closed the connection, or doesn't speak {scheme}")
    return _failed("unsupported", "its answer is no video stream that can be read")


def explain_read_error(error: BaseException) -> Failed:
    """Return the message about a stream that broke off."""
    if isinstance(error, StreamError):
        return Failed(code=error.code, message=str(error))
    return _failed("broken", _detail(error, "broken"))


def _explain_local(error: BaseException) -> Failed:
    if isinstance(error, FileNotFoundError) or getattr(error, "errno", None) in {errno.ENODEV, errno.ENXIO}:
        return Failed(code="not_found", message="there is no such file or device")
    if isinstance(error, PermissionError):
        return Failed(code="unreachable", message="the file or device may not be opened by this user")
    if getattr(error, "errno", None) == errno.EBUSY:
        return Failed(code="unreachable", message="the device is in use by another program")
    return Failed(code="unsupported", message="the file or device has no video that can be read")


def _detail(error: BaseException, code: FailureCode) -> str:
    """Return the library's own words where they add something, without the address, which has the password."""
    if isinstance(error, av.error.ExitError):
        return _TIMED_OUT
    if isinstance(error, MemoryError):
        return "it needs more memory than a decoder may use"
    if isinstance(error, av.error.FFmpegError) and code in {"unreachable", "broken"}:
        return str(error.strerror or "").lower()
    return ""


def _failed(code: FailureCode, detail: str = "") -> Failed:
    return Failed(code=code, message=_SENTENCES[code] + (f": {detail}" if detail else ""))
