"""The kind of a failure and a hint, found from the reason that a source reports.

Reasons are the texts that `eaves status` shows too. A reason that no pattern knows is shown as it is.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

from eaves.credentials.redact import redact
from eaves.sources.trial.findings import Failure, FailureCode

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
INSTALL_PYAV = "python -m pip install '.[camera]'   # in a checkout of Eaves"

_PATTERNS: tuple[tuple[str, FailureCode], ...] = (
    (r"refuses (the user|access)|refused the user|asks for a login|status 40[13]", "refused_login"),
    (r"access key|secret key|session token", "refused_login"),
    (r"status 404|status 410|No such file|no such (stream|file|device)|does not exist", "not_found"),
    (r"isn't trusted|is not trusted", "untrusted"),
    (r"can't be reached|can't connect|doesn't answer|was lost|TLS with|TLS failed", "unreachable"),
    (r"is not an image", "unsupported"),
    (r"before the image was complete|did not send a complete image", "broken"),
    (r"PyAV is not installed", "missing_library"),
)


def classify(reason: str, *, kind: str, place: str, credentials: str) -> Failure:
    """Return the failure that a source's reason describes.

    Args:
        reason: Reason that the source reported.
        kind: Kind of the source.
        place: Address or path of the source.
        credentials: Folder of the source's credentials; empty without one.
    """
    code: FailureCode = next((code for pattern, code in _PATTERNS if re.search(pattern, reason)), "failed")
    return build_failure(code, reason, kind=kind, place=place, credentials=credentials)


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
    hint = _HINTS.get(code, "")
    if code == "refused_login":
        hint = _hint_login(shown, kind, credentials)
    elif kind == "camera" and "://" not in place:
        hint = _LOCAL_HINTS.get(code, hint).format(place=shlex.quote(place))
    elif code == "not_found" and (paths := {"camera": RTSP_PATHS, "http": SNAPSHOT_PATHS}.get(kind)):
        hint = f"check the path of the address; usual ones: {paths}"
    return Failure(code=code, message=shown, hint=hint)


_HINTS: Mapping[FailureCode, str] = {
    "untrusted": "write the certificate of its authority to ca.crt in a folder that --credentials names",
    "unreachable": "check the address, and whether the server is running",
    "unsupported": "open the address in a browser or in VLC, and check that it shows the camera's picture",
    "no_video": "choose a stream of the camera that has video, in H.264, H.265 or MJPEG",
    "broken": "try again; if it fails again, check the camera's network connection",
    "missing_library": INSTALL_PYAV,
}
_LOCAL_HINTS: Mapping[FailureCode, str] = {
    "not_found": "ls -l {place}; v4l2-ctl --list-devices lists the cameras of this machine",
    "unreachable": "ls -l {place}; a device belongs to the group video: sudo usermod -aG video $USER",
    "unsupported": "check that a player such as VLC shows the file",
    "no_video": "choose a file that has video",
    "broken": "check that a player such as VLC shows the file to its end",
}


def _hint_login(message: str, kind: str, credentials: str) -> str:
    if kind == "s3":
        where = credentials or "a folder that --credentials names"
        return f"check the files access_key and secret_key in {where}, and the rights of the key"
    if credentials:
        return f"check the files username and password in {credentials}; many cameras lock an account after 5 attempts"
    if "no user name" in message:
        return "write the files username and password into a folder, and name it with --credentials"
    return "check the user name and the password; --credentials names a folder with the files username and password"
