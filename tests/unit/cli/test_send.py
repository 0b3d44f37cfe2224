"""`eaves send` with files that are no images."""

from __future__ import annotations

from pathlib import Path

import pytest

from eaves.cli.commands.run.send import describe_foreign, is_foreign
from eaves.delivery import SinkResponse
from eaves.sources.files import capture_file
from eaves.web.problem_document import build_problem


def refuse(hint: str, status: int = 415) -> SinkResponse:
    detail = "the content type 'application/octet-stream' is not taken"
    return SinkResponse(status=status, body=build_problem(status, detail, hint, kind="unsupported"))


@pytest.mark.parametrize(
    ("content", "answer", "foreign"),
    [
        (b"text", refuse("send image/*"), True),
        (b"\xff\xd8\xff\xe0 a cut JPEG", refuse("send image/*"), False),
        (b"text", refuse("send application/json"), False),
        (b"text", refuse("send image/*", status=422), False),
    ],
)
def test_only_a_file_of_no_image_that_is_refused_for_it_is_foreign(
    tmp_path: Path, content: bytes, answer: SinkResponse, foreign: bool
) -> None:
    file = tmp_path / "t.txt"
    file.write_bytes(content)
    assert is_foreign(capture_file(file, site="home"), answer) is foreign


def test_what_it_is_not_is_said_in_words() -> None:
    assert describe_foreign(Path("t.txt")).startswith("the file is not an image ")
    assert describe_foreign(Path("IMG_1.HEIC")) == "HEIC and AVIF images can't be read; convert the file to JPEG"
