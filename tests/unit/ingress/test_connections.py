"""Which connection makes room for the next one."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from eaves.ingress.connections import Connections, ConnectionState

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pairs() -> Iterator[list[Pair]]:
    """Connections, the server's end first."""
    made = [socket.socketpair() for _ in range(12)]
    yield made
    for pair in made:
        for end in pair:
            end.close()


def is_open(pair: Pair) -> bool:
    pair[1].setblocking(False)
    try:
        return pair[1].recv(1) != b""
    except BlockingIOError:
        return True


def test_the_oldest_stranger_makes_room_for_strangers(pairs: list[Pair]) -> None:
    table = Connections(6)
    for pair in pairs[:5]:
        table.add(pair[0])
    assert [is_open(pair) for pair in pairs[:5]] == [False, False, True, True, True]
    assert len(table) == 3


def test_strangers_push_out_no_known_caller_while_there_are_strangers(pairs: list[Pair]) -> None:
    table = Connections(6)
    for pair in pairs[:3]:
        table.add(pair[0])
        table.mark(pair[0], ConnectionState.BUSY)
        table.mark(pair[0], ConnectionState.IDLE)
    for pair in pairs[3:]:
        table.add(pair[0])
    assert [is_open(pair) for pair in pairs] == [True] * 3 + [False] * 6 + [True] * 3
    assert len(table) == 6


def test_an_address_with_few_connections_loses_none_to_one_with_many(pairs: list[Pair]) -> None:
    table = Connections(10)
    table.add(pairs[0][0], "192.0.2.1")
    for pair in pairs[1:11]:
        table.add(pair[0], "198.51.100.7")
    assert [is_open(pair) for pair in pairs[:11]] == [True] + [False] * 6 + [True] * 4
    assert len(table) == 5


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("192.0.2.1", "192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
    ],
)
def test_a_network_counts_as_one_address(pairs: list[Pair], one: str, other: str, is_same: bool) -> None:
    table = Connections(6)
    for pair, address in zip(pairs, ("192.0.2.99", one, other, "192.0.2.77"), strict=False):
        table.add(pair[0], address)
    assert [is_open(pair) for pair in pairs[:2]] == ([True, False] if is_same else [False, True])


def test_who_is_idle_for_longest_makes_room_when_all_are_known(pairs: list[Pair]) -> None:
    table = Connections(4)
    for pair in pairs[:4]:
        table.add(pair[0])
        table.mark(pair[0], ConnectionState.BUSY)
    for index in (2, 1):
        table.mark(pairs[index][0], ConnectionState.IDLE)
    for pair in pairs[4:7]:
        table.add(pair[0])
        table.mark(pair[0], ConnectionState.BUSY)
    assert [is_open(pair) for pair in pairs[:7]] == [False, False, False, True, True, True, True]


def test_what_was_hung_up_or_closed_is_forgotten(pairs: list[Pair]) -> None:
    table = Connections(2)
    table.add(pairs[0][0])
    table.add(pairs[1][0])
    table.mark(pairs[0][0], ConnectionState.BUSY)  # it has made room
    assert len(table) == 1
    table.remove(pairs[1][0])
    assert len(table) == 0
