"""A ledger as JSON lines: what is written is read, and what others write is read or refused with its line."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eaves.errors import InputError
from eaves.spool import LedgerLine
from eaves.spool.ledger import MAX_LINE, encode_lines, parse_line, read_lines
from eaves.spool.ledger_schema import STATES

TEXT = st.text(min_size=1, max_size=40)


def line(number: int = 1, **values: object) -> LedgerLine:
    known = {"source": "/eaves/mill/flowers", "id": f"id-{number}", "taken_at": 1.5, "changed_at": 1.5}
    return LedgerLine(**{"number": number, "state": "released", "repeats": 0, **known, **values})  # type: ignore[arg-type]


def encode_line(one: LedgerLine) -> str:
    return encode_lines([one]).decode().removesuffix("\n")


def read(text: bytes) -> list[LedgerLine]:
    return list(read_lines(io.BytesIO(text), "sent.jsonl"))


@given(
    st.builds(
        LedgerLine,
        number=st.integers(0, 1 << 60),
        source=TEXT,
        id=TEXT,
        taken_at=st.shared(st.floats(0, 1e11), key="at"),
        changed_at=st.shared(st.floats(0, 1e11), key="at"),
        state=st.sampled_from(STATES),
        repeats=st.integers(0, 1 << 40),
        reason=TEXT,
        digest=st.just("0011223344556677"),
    )
)
def test_what_is_written_is_read(written: LedgerLine):
    text = encode_line(written)
    assert text.isascii()
    assert "\n" not in text
    assert read(f"{text}\n".encode()) == [written]


def test_a_line_has_what_a_stranger_needs_and_no_more():
    assert json.loads(encode_line(line())) == {
        "number": 1,
        "source": "/eaves/mill/flowers",
        "id": "id-1",
        "at": 1.5,
        "state": "released",
        "repeats": 0,
    }
    assert json.loads(encode_line(line(state="dead", reason="answered 422")))["reason"] == "answered 422"
    assert parse_line(json.loads(encode_line(line(deleted=7)))).deleted == 7
    assert "deleted" not in json.loads(encode_line(line()))
    assert parse_line({"source": "/s", "id": "1", "deleted": "yes"}).deleted is None, "another list's own attribute"


def test_a_list_of_somebody_else_needs_source_and_id_only():
    event = {"specversion": "1.0", "type": "t", "source": "/s", "id": "1", "time": "2026-11-25T00:00:00Z", "data": {}}
    [found] = read(json.dumps(event).encode())
    assert (found.source, found.id, found.number, found.taken_at, found.state) == ("/s", "1", 1, 0.0, "released")


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        (b"{", "line 2 can't be read"),
        (b'{"source": "/s"}', "has no id"),
        (b'{"source": "/s", "id": "1", "state": "sent"}', "its state is not one of queued"),
        (b'{"source": "/s", "id": "1", "at": -1}', "its at is not a number"),
        (b"[" * 100_000, "line 2 can't be read"),
        (b'{"id": "' + b"x" * MAX_LINE, "it has more than"),
    ],
)
def test_a_line_that_is_none_is_named(text: bytes, reported: str):
    with pytest.raises(InputError, match=reported):
        read(encode_lines([line()]) + text)
