"""The socket that a function opens first: connections wait in the kernel until the server accepts them."""

from __future__ import annotations

import socket

import pytest

from eaves.errors import StartError
from functions.http.listening_socket import open_listening_socket


def test_a_connection_is_accepted_before_there_is_a_server() -> None:
    with (
        open_listening_socket("127.0.0.1", 0) as listening,
        socket.create_connection(listening.getsockname(), timeout=10) as sender,
    ):
        sender.sendall(b"early")
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.recv(16) == b"early"


def test_an_address_that_is_in_use_or_unknown_is_reported() -> None:
    with open_listening_socket("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        with pytest.raises(StartError, match=f"can't listen on 127.0.0.1:{port}"):
            open_listening_socket("127.0.0.1", port)
    with pytest.raises(StartError, match="can't listen on"):
        open_listening_socket("x" * 300, 0)
