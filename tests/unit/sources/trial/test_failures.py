"""Reasons that sources report, each with its kind and hint."""

from __future__ import annotations

from typing import get_args

import pytest

from eaves.errors import EavesError
from eaves.sources.trial.failures import Failure, FailureCode, build_failure, classify


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("http://cam/ refuses the user name or the password", "refused_login"),
        ("the broker b:1883 refuses the user (not authorized); check credentials", "refused_login"),
        ("http://cam/ answers with status 403", "refused_login"),
        ("http://cam/ answers with status 404", "not_found"),
        ("folder /in can't be opened: No such file or directory", "not_found"),
        ("the certificate of the broker b:8883 isn't trusted: self-signed certificate", "untrusted"),
        ("can't connect to the broker b:1883: Connection refused", "unreachable"),
        ("the broker b:1883 doesn't answer", "unreachable"),
        ("http://cam/ answers with text/html that is not an image", "unsupported"),
        ("there is no device /dev/video9", "not_found"),
        ("the camera has no stream at this address", "not_found"),
        ("the certificate of the camera isn't of a trusted authority, or is of another name", "untrusted"),
        ("the stream has no video", "no_video"),
        ("the codec of the stream can't be decoded", "unsupported"),
        ("the camera ended the stream", "broken"),
        ("no data from the camera for 15 s", "broken"),
        ("something else", "failed"),
    ],
)
def test_a_reason_has_a_kind(reason: str, code: FailureCode) -> None:
    assert classify(reason) == code


@pytest.mark.parametrize("code", get_args(FailureCode))
def test_each_kind_ends_the_command_with_an_error_and_no_password(code: FailureCode) -> None:
    failure = build_failure(
        code, "rtsp://u:hunter2@cam/1 fails", kind="camera", place="rtsp://***@cam/1", credentials=""
    )
    error = failure.to_error()
    assert isinstance(error, EavesError)
    assert error.exit_code > 0
    assert error.message == "rtsp://***@cam/1 fails"
    assert failure.step


def test_hints_of_a_device_and_of_a_file_name_the_path() -> None:
    failure = build_failure("not_found", "no device", kind="camera", place="/dev/my camera", credentials="")
    assert failure.hint.startswith("ls -l '/dev/my camera'")
    assert "Hikvision" not in failure.hint


def test_a_wrong_password_in_a_folder_names_the_folder() -> None:
    failure = build_failure("refused_login", "refused", kind="camera", place="rtsp://cam", credentials="secrets/gate")
    assert "secrets/gate" in failure.hint
    assert Failure(code="failed", message="m").to_error().hint is None
