"""Events that come twice: in work, a moment later, and after a failure."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from eaves.errors import InWorkError
from functions.reply_cache import MAX_BYTES, CachedReply, ReplyCache


def reply(text: str, size: int = 0) -> CachedReply:
    return CachedReply(headers={"ce-id": text}, body=text.encode() + bytes(size))


def test_a_recent_reply_comes_from_memory_and_the_oldest_is_forgotten() -> None:
    recent = ReplyCache(2)
    for key in ("a", "b", "a", "c"):  # `a` was asked for last but one, so `b` is the oldest
        recent.get_or_make(key, lambda key=key: reply(key))  # type: ignore[misc]
    made = {key: recent.get_or_make(key, lambda: reply("again"))[1] for key in ("a", "c")}
    assert made == {"a": False, "c": False}
    assert recent.get_or_make("b", lambda: reply("again"))[1]


@pytest.mark.parametrize(("size", "bytes_"), [(0, 0), (4, MAX_BYTES)])
def test_what_is_not_kept_is_made_again(size: int, bytes_: int) -> None:
    recent = ReplyCache(size)
    assert [recent.get_or_make("key", lambda: reply("a", bytes_))[1] for _ in range(2)] == [True, True]


def test_a_failure_goes_to_all_who_wait_and_is_not_kept() -> None:
    recent, go, started = ReplyCache(4), threading.Event(), threading.Event()

    def fail() -> CachedReply:
        started.set()
        go.wait(10)
        raise ValueError("broken")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(recent.get_or_make, "key", fail)
        assert started.wait(10)
        second = pool.submit(recent.get_or_make, "key", fail)
        go.set()
        assert {type(future.exception(10)) for future in (first, second)} == {ValueError}
    assert recent.get_or_make("key", lambda: reply("a")) == (reply("a"), True)


def test_waiting_for_the_first_ends() -> None:
    recent, go, started = ReplyCache(4, wait_s=0.05), threading.Event(), threading.Event()

    def make() -> CachedReply:
        started.set()
        go.wait(10)
        return reply("a")

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(recent.get_or_make, "key", make)
        try:
            assert started.wait(10)
            with pytest.raises(InWorkError) as caught:
                recent.get_or_make("key", make)
        finally:
            go.set()
        assert first.result(10) == (reply("a"), True)
    assert caught.value.http_status == 409
