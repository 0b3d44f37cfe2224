"""A request's frame and its body, and the memory that they share."""

import gzip
import io
import threading
import time
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eaves.delivery.response_rules import Blame, find_blame
from eaves.errors import EventError, ImageTooLargeError, MalformedRequestError, OverloadedError
from eaves.ingress.memory import WAIT_S, MemoryBudget
from eaves.ingress.request import CHUNKED, parse_headers, parse_length, read_body
from eaves.problem_document import build_problem, error_type
from tests.waiting import wait_until


def take(size: int) -> None:
    """Take memory, of which there is enough."""


def chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


def read_chunks(body: bytes, max_bytes: int) -> bytes:
    return read_body(io.BytesIO(body), CHUNKED, max_bytes=max_bytes, take=take)


def unpack(packed: bytes, max_bytes: int = 10_000_000) -> bytes:
    return read_body(io.BytesIO(packed), len(packed), max_bytes=max_bytes, take=take, gzipped=True)


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=20))
def test_chunks_are_one_body_again(chunks: list[bytes]):
    assert read_chunks(chunked(*chunks), 10_000) == b"".join(chunks)


def test_extensions_and_trailers_are_passed_over():
    assert read_chunks(b"3;a=b\r\nabc\r\n0\r\nX-Y: z\r\n\r\n", 10) == b"abc"


@pytest.mark.parametrize(
    "body",
    [
        *(
            b"",
            b"\r\n",
            b"x\r\n",
            b"-1\r\n",
            b"3\r\nab",
            b"3\r\nabcd\r\n0\r\n\r\n",
            b"+3\r\nabc\r\n",
            b"0x3\r\nabc\r\n",
        ),
        *(b"3\nabc\r\n0\r\n\r\n", b"3\r\nabc\n0\r\n\r\n", b"0\r\n" + b"a: b\r\n" * 100 + b"\r\n", b"0\r\n"),
    ],
)
def test_what_is_not_well_formed_is_refused(body: bytes):
    with pytest.raises(MalformedRequestError):
        read_chunks(body, 10)


@pytest.mark.parametrize("body", [chunked(b"abc", b"defg"), b"ffffffffffff\r\n"])
def test_what_is_too_large_is_refused_before_it_is_read(body: bytes):
    with pytest.raises(ImageTooLargeError, match="more than 6 bytes"):
        read_chunks(body, 6)


@given(st.binary(max_size=2_000), st.integers(1, 200))
def test_gzip_is_unpacked(data: bytes, times: int):
    assert unpack(gzip.compress(data * times)) == data * times


def fixed_gzip(data: bytes) -> bytes:
    """Gzip without the time: a test is named after its parameters, and each worker must name it alike."""
    return gzip.compress(data, mtime=0)


@pytest.mark.parametrize(
    "packed",
    [
        *(b"hello", b"", fixed_gzip(b"a" * 100)[:-1], fixed_gzip(b"a" * 100)[:-9], zlib.compress(b"a")),
        *(fixed_gzip(b"a") + b"b", fixed_gzip(b"a") * 2, fixed_gzip(b"abc")[:-8] + b"\0" * 8),
    ],
)
def test_what_is_no_gzip_is_refused(packed: bytes):
    with pytest.raises(MalformedRequestError):
        unpack(packed)


def test_a_bomb_takes_no_more_memory_than_a_body_may():
    packed = gzip.compress(b"\0" * 50_000_000)
    taken: list[int] = []
    with pytest.raises(ImageTooLargeError, match="more than 1000000 bytes"):
        read_body(io.BytesIO(packed), len(packed), max_bytes=1_000_000, take=taken.append, gzipped=True)
    assert sum(taken) <= 1_000_000


def parse(text: str) -> int | None:
    return parse_length(parse_headers(text.split("\r\n")[:-1]))


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("", None),
        ("Content-Length: 12\r\n", 12),
        ("Transfer-Encoding: Chunked\r\n", CHUNKED),
        ("Content-Length: 9\r\nContent-Type: multipart/form-data; boundary=x\r\n", 9),
    ],
)
def test_it_says_where_the_body_ends(text: str, length: int | None):
    assert parse(text) == length


@pytest.mark.parametrize(
    "text",
    [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: \u0665\r\n".encode().decode("latin-1"),
        "Content-Length: 9999999999999999999\r\n",
        "Content-Length : 5\r\n",
        "Content-Length: 5\r\n\t6\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "no header at all\r\nContent-Length: 5\r\n",
        "Host: a\r\nHost: b\r\n",
    ],
)
def test_what_is_ambiguous_is_refused(text: str):
    with pytest.raises(MalformedRequestError):
        parse(text)


def test_a_malformed_header_is_refused_at_once_however_many_blanks_it_has():
    began = time.process_time()
    with pytest.raises(MalformedRequestError):
        parse(f"Accept:{' ' * 1_000}\0\r\n")  # with a head's 64 KB, a search that tries every split would take days
    assert time.process_time() - began < 0.1


def test_a_damaged_request_blames_no_event():
    """A proxy on the way that damages one request damages those of every event."""
    document = build_problem(400, "", kind=error_type(MalformedRequestError))
    assert find_blame(400, document) is Blame.UNKNOWN
    assert find_blame(400, build_problem(400, "", kind=error_type(EventError))) is Blame.EVENT


def test_the_first_that_needs_more_waits_and_the_others_make_room():
    budget = MemoryBudget(100)
    done = threading.Event()
    with budget.share() as second:
        second(50)

        def first_request() -> None:
            with budget.share() as first:
                first(50)
                first(50)
                done.set()

        thread = threading.Thread(target=first_request)
        thread.start()
        wait_until(lambda: budget._waiting is not None)
        with pytest.raises(OverloadedError):
            second(1)
        assert not done.is_set(), "it is refused at once, as another one waits"
    thread.join(10)
    assert done.is_set()


def test_who_waits_in_vain_is_refused():
    budget = MemoryBudget(100, name="relay")
    with budget.share() as holding, budget.share() as waiting:
        holding(100)
        began = time.monotonic()
        with pytest.raises(
            OverloadedError,
            match="the relay has reached its limit: 0 MB of other requests are in memory; send again later",
        ):
            waiting(5)
        assert WAIT_S <= time.monotonic() - began < WAIT_S + 20
    assert budget.taken_bytes == 0


def test_an_owner_has_half_of_it_and_waits_for_nothing_but_its_own():
    budget = MemoryBudget(1_000)
    with budget.share("mill") as one, budget.share("mill") as two, budget.share("barn") as other:
        one(300)
        two(200)
        with pytest.raises(OverloadedError, match="requests from mill"):
            two(100)
        other(500)
        assert budget.taken_bytes == 1_000
    with budget.share("mill") as one:
        one(500)
