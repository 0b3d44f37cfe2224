"""Bounded work: so many inside, so many waiting, the rest refused at once."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from eaves.errors import OverloadedError
from functions.service import Admission, FetchMemory
from tests.waiting import wait_until


@pytest.mark.parametrize(("concurrency", "queue"), [(1, 0), (2, 3)])
def test_as_many_as_fit_are_let_in_and_the_next_is_refused(concurrency: int, queue: int):
    admission, go = Admission(concurrency=concurrency, queue=queue), threading.Event()
    lock, inside, most = threading.Lock(), 0, 0

    def work() -> None:
        nonlocal inside, most
        with admission.queue_slot(), admission.permits, admission.turns:
            with lock:
                inside += 1
                most = max(most, inside)
            go.wait(10)
            with lock:
                inside -= 1

    with ThreadPoolExecutor(concurrency + queue + 1) as pool:
        futures = [pool.submit(work) for _ in range(concurrency + queue + 1)]
        try:
            wait_until(lambda: inside == concurrency and any(future.done() for future in futures))
            refused = [future for future in futures if future.done()]
        finally:
            go.set()
    assert most == concurrency
    assert [type(future.exception()) for future in refused] == [OverloadedError]
    assert [future.exception() for future in futures if future not in refused] == [None] * (concurrency + queue)


def test_one_more_request_than_runs_is_decoded():
    permits = Admission(concurrency=2, queue=3).permits
    assert [permits.acquire(blocking=False) for _ in range(4)] == [True, True, True, False]


def test_room_is_shared_and_given_back():
    room = FetchMemory(10)
    with room.share() as first, room.share() as second:
        first(6)
        second(4)
        with pytest.raises(OverloadedError):
            first(1)
    with room.share() as again:
        again(10)
