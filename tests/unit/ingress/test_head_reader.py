"""Headers are bounded all together, not each line alone."""

from __future__ import annotations

import http.client
import io

import pytest

from eaves.ingress.head_reader import HEAD_BYTES, HeadReader


def test_lines_are_read_until_they_have_too_many_bytes() -> None:
    line = b"a" * 1_023 + b"\n"
    reader = HeadReader(io.BytesIO(line * 100))
    assert [reader.readline(65_537) for _ in range(HEAD_BYTES // len(line))] == [line] * 64
    with pytest.raises(http.client.LineTooLong):
        reader.readline(65_537)


def test_no_more_than_that_is_read_of_one_line() -> None:
    stream = io.BytesIO(b"a" * 1_000_000)
    with pytest.raises(http.client.LineTooLong):
        HeadReader(stream).readline(10_000_000)
    assert stream.tell() == HEAD_BYTES + 1
