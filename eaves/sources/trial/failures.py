"""The kind of a failure and a hint, found from the reason that a source reports.

Reasons are the texts that `eaves status` shows too. A reason that no pattern knows is shown as it is.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from eaves.credentials.redact import redact
from eaves.errors import DeliveryError, EavesError, ForbiddenError, InputError, NotFoundError, UnreachableError

FailureCode = Literal[
    "unreachable",
    "untrusted",
    "refused_login",
    "not_found",
    "no_video",
    "unsupported",
    "broken",
    "no_image",
    "missing_library",
    "failed",
]
"""Kind of a failure. Most are those of `eaves.sources.camera.wire.FailureCode`. `no_image`: the source works, and no
image came within the time limit. `failed`: another error of the source."""
RTSP_PATHS = (
    "/Streaming/Channels/101 (Hikvision), /cam/realmonitor?channel=1&subtype=0 (Dahua), "
    "/axis-media/media.amp (Axis), /h264Preview_01_main (Reolink)"
)
"""Usual paths of RTSP streams, as installers list them; not taken from the makers' own pages."""
SNAPSHOT_PATHS = (
    "/ISAPI/Streaming/channels/101/picture (Hikvision), /cgi-bin/snapshot.cgi (Dahua), /axis-cgi/jpg/image.cgi (Axis)"
)
"""Usual paths of snapshots over HTTP, as installers list them; not taken from the makers' own pages."""
STREAM_ANSWER = "answers with a stream"
"""Part of the reason with which the kind `http` refuses a stream."""

_PATTERNS: tuple[tuple[str, FailureCode], ...] = (
    (r"refuses (the user|access)|refused the user|asks for a login|status 40[13]", "refused_login"),
    (r"access key|secret key|session token", "refused_login"),
    (r"status 404|status 410|No such file|no such (stream|file|device)|does not exist", "not_found"),
    (r"there is no (file|device)|no stream at this address|refers to another server", "not_found"),
    (r"isn't trusted|is not trusted|isn't of a trusted", "untrusted"),
    (r"can't be reached|can't connect|doesn't answer|was lost|TLS with|TLS failed|was not open", "unreachable"),
    (r"may not be opened|in use by another program", "unreachable"),
    (r"the stream has no video", "no_video"),
    (r"is not an image|no video that can be read|stream can't be (read|decoded)|the protocol .* can't", "unsupported"),
    (r"before the image was complete|did not send a complete image|camera ended the stream", "broken"),
    (r"no data from the camera|no whole frame|the stream ended", "broken"),
    (r"PyAV is not installed", "missing_library"),
)
_FAILURES: Mapping[FailureCode, tuple[type[EavesError], str, str]] = {
    "unreachable": (UnreachableError, "connection", "check the address, and whether the server is running"),
    "untrusted": (
        UnreachableError,
        "TLS",
        "write the certificate of its authority to ca.crt in a folder that --credentials names",
    ),
    "refused_login": (ForbiddenError, "login", ""),
    "not_found": (NotFoundError, "path", ""),
    "no_video": (InputError, "video", "choose a stream of the camera that has video, in H.264, H.265 or MJPEG"),
    "unsupported": (
        InputError,
        "format",
        "open the address in a browser or in VLC, and check that it shows the camera's picture",
    ),
    "broken": (DeliveryError, "image", "try again; if it fails again, check the camera's network connection"),
    "no_image": (DeliveryError, "image", ""),
    "missing_library": (
        EavesError,
        "decoder",
        "python -m pip install '.[camera]'   # in a checkout of Eaves",
    ),
    "failed": (EavesError, "image", ""),
}
"""Code of a failure to the error that ends the command, the step that fails, and a hint."""
_LOCAL_HINTS: Mapping[FailureCode, str] = {
    "not_found": "ls -l {place}; v4l2-ctl --list-devices lists the cameras of this machine",
    "unreachable": "ls -l {place}; a device belongs to the group video: sudo usermod -aG video $USER",
    "unsupported": "check that a player such as VLC shows the file",
    "no_video": "choose a file that has video",
    "broken": "check that a player such as VLC shows the file to its end",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a trial got no image, as a sentence without credentials, and what to do, which may be empty."""

    code: FailureCode
    message: str
    hint: str = ""

    @property
    def step(self) -> str:
        """Name of the step that failed."""
        return _FAILURES[self.code][1]

    def to_error(self) -> EavesError:
        """Return the error that ends the command."""
        return _FAILURES[self.code][0](self.message, hint=self.hint or None)


def classify(reason: str) -> FailureCode:
    """Return the kind of the failure that a source's reason describes."""
    return next((code for pattern, code in _PATTERNS if re.search(pattern, reason)), "failed")


def build_failure(code: FailureCode, message: str, *, kind: str, place: str, credentials: str) -> Failure:
    """Return a failure with the hint of its code.

    Args:
        code: Kind of the failure.
        message: Reason as a sentence; addresses in it may hold a password.
        kind: Kind of the source.
        place: Address or path of the source.
        credentials: Folder of the source's credentials; empty without one.
    """
    shown = redact(message)
    hint = _FAILURES[code][2]
    if code == "refused_login":
        hint = _hint_login(shown, kind, credentials)
    elif kind == "camera" and "://" not in place:
        hint = _LOCAL_HINTS.get(code, hint).format(place=shlex.quote(place))
    elif code == "not_found" and (paths := {"camera": RTSP_PATHS, "http": SNAPSHOT_PATHS}.get(kind)):
        hint = f"check the path of the address; usual ones: {paths}"
    return Failure(code=code, message=shown, hint=hint)


def _hint_login(message: str, kind: str, credentials: str) -> str:
    if kind == "s3":
        where = credentials or "a folder that --credentials names"
        return f"check the files access_key and secret_key in {where}, and the rights of the key"
    if credentials:
        return f"check the files username and password in {credentials}; many cameras lock an account after 5 attempts"
    if "no user name" in message:
        return "write the files username and password into a folder, and name it with --credentials"
    return "check the user name and the password; --credentials names a folder with the files username and password"
