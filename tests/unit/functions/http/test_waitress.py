"""waitress's members that the function's server uses and waitress doesn't promise to keep.

`serve`, `create_server` and the names of adjustments are all that waitress documents. Its version is bound in
pyproject.toml; a change of the bound shows here first what has changed.
"""

from __future__ import annotations

import inspect
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.server import TcpWSGIServer, UnixWSGIServer
from waitress.task import ErrorTask, ThreadedTaskDispatcher, WSGITask
from waitress.utilities import BadRequest, Error

import functions.http

CHUNKED = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"

MEMBERS = {
    "server": {
        "_map": "A stopping server doesn't see when it has accepted all that the kernel accepted for it.",
        "accepting": "The local platform doesn't see that its listening socket is lost.",
        "active_channels": "No connection is counted, ended in time or closed for the next one.",
        "add_task": "Probes wait behind work: requests aren't divided between the two pools of threads.",
        "asyncore": "The server has no loop.",
        "channel_class": "Connections are waitress's own, without any bound.",
        "del_channel": "A stopping server still polls a socket that is closed.",
        "effective_port": "A function that was given port 0 doesn't say where it listens.",
        "handle_accept": "The silent connection isn't closed for the next one.",
        "maintenance": "waitress's own time limit closes connections by a clock that may jump.",
        "pull_trigger": "A signal waits for the end of a round of the loop.",
        "readable": "Connections are accepted without bound.",
        "task_dispatcher": "Requests are answered by waitress's own threads.",
    },
    "connection": {
        "_flush_exception": "A refused sender's answer isn't sent, or an error in sending ends the loop.",
        "_flush_some_if_lockable": "A refused sender's answer isn't sent.",
        "close_when_flushed": "A refused connection is reset before its sender has read the answer.",
        "connected": "A connection that has gone is waited for.",
        "error_task_class": "Refusals are waitress's own pages in place of problem documents.",
        "handle_close": "What takes too long is not closed.",
        "handle_write": "A refused connection is reset before its sender has read the answer.",
        "parser_class": "Requests that two readers understand differently are taken.",
        "received": "Neither time nor memory of a request is bounded.",
        "request": "A request that is still arriving isn't seen.",
        "requests": "A request in work isn't seen, and its connection is closed as an idle one.",
        "requests_lock": "A refusal and a thread that answers change the same list.",
        "send_continue": "A body is waited for that was refused.",
        "service": "A connection counts as silent while it is answered.",
        "task_class": "A stopping function doesn't tell its senders to go elsewhere.",
        "total_outbufs_len": "A sender that doesn't read its answers is never cut.",
        "will_close": "A connection is closed twice, or not at all.",
    },
    "request": {
        "body_bytes_received": "Tiny chunks are read without bound.",
        "body_rcv": "The memory of bodies isn't counted.",
        "chunked": "Tiny chunks are read without bound.",
        "close": "The body of a refused request stays in memory.",
        "completed": "A refused request is read on.",
        "error": "A refused request reaches the application.",
        "header_plus": "The memory of heads isn't counted.",
        "headers": "The token isn't found, and a stopping function doesn't close its connections.",
        "headers_finished": "Off loopback a body is read before the token is asked for.",
        "parse_header": "Heads that two readers understand differently are taken.",
        "version": "HTTP/1.0 with chunks is taken.",
    },
    "chunks": {
        "control_line": "The size of a chunk may have any length, and is copied with every packet.",
        "trailer": "Trailers may have any length, and are copied with every packet.",
        "__len__": "The memory of bodies isn't counted.",
    },
    "task": {
        "build_response_header": "A stopping function doesn't tell its senders to go elsewhere.",
        "channel": "A refusal isn't counted.",
    },
    "refusal": {
        "content_length": "The answer to a refused request has no length.",
        "execute": "Refusals are waitress's own pages in place of problem documents.",
        "response_headers": "The answer to a refused request lacks its content type and Retry-After.",
        "set_close_on_finish": "The rest of a refused request is read as the next one.",
        "status": "The answer to a refused request has another status.",
        "write": "A refused request has no answer.",
    },
    "threads": {
        "active_count": "Too few threads are made, and requests wait.",
        "handler_thread": "Threads are not made when they are needed.",
        "lock": "Two threads change the queue at the same time.",
        "queue": "Tasks aren't handed over.",
        "queue_cv": "Idle threads aren't woken.",
        "shutdown": "Threads don't end with the server.",
        "start_new_thread": "Threads are not made when they are needed.",
        "stop_count": "Threads are made while the server stops.",
        "threads": "Threads are made without bound.",
    },
}
"""Members of waitress that are used, by part, and what breaks without each."""


@pytest.fixture(scope="module")
def parts() -> Iterator[dict[str, Any]]:
    """One of each part, as waitress makes it."""
    adjustments = Adjustments(host="127.0.0.1", port=0)
    request, error = HTTPRequestParser(adjustments), HTTPRequestParser(adjustments)
    request.received(CHUNKED)
    error.error = BadRequest("no")
    mapped: dict[int, Any] = {}
    with ExitStack() as stack:
        server = TcpWSGIServer(lambda environ, start: [], map=mapped, adj=adjustments)
        stack.callback(wasyncore.close_all, mapped)
        ours, theirs = socket.socketpair()
        stack.enter_context(theirs)
        connection = HTTPChannel(server, ours, ("127.0.0.1", 1), adjustments, map=mapped)
        yield {
            "server": server,
            "connection": connection,
            "request": request,
            "chunks": request.body_rcv,
            "task": WSGITask(connection, request),
            "refusal": ErrorTask(connection, error),
            "threads": ThreadedTaskDispatcher(),
        }


@pytest.mark.parametrize(
    ("part", "member", "without"),
    [(part, member, without) for part, members in MEMBERS.items() for member, without in members.items()],
    ids=str,
)
def test_a_member_of_waitress_is_there(part: str, member: str, without: str, parts: dict[str, Any]) -> None:
    assert hasattr(parts[part], member), f"waitress's {type(parts[part]).__name__} has no {member}: {without}"


def test_each_of_them_is_used() -> None:
    """A member that isn't used any more is no reason against an upgrade."""
    folder = Path(functions.http.__file__).parent
    text = "\n".join(path.read_text() for path in [*folder.glob("*.py"), folder.parents[1] / "eaves/local/server.py"])
    unused = [member for members in MEMBERS.values() for member in members if not re.search(rf"\b{member}\b", text)]
    assert unused == ["task_dispatcher", "__len__"], "one by way of `dispatcher=`, the other by way of `len`"


def test_what_is_called_takes_what_it_is_given() -> None:
    def names(function: Any) -> set[str]:
        return set(inspect.signature(function).parameters)

    assert names(wasyncore.loop) >= {"timeout", "map", "use_poll", "count"}
    assert names(wasyncore.close_all) >= {"map", "ignore_all"}
    assert names(ThreadedTaskDispatcher.shutdown) >= {"cancel_pending", "timeout"}
    assert names(TcpWSGIServer.__init__) >= {"map", "dispatcher", "adj", "_sock", "sockinfo", "bind_socket"}
    assert names(UnixWSGIServer.__init__) >= {"map", "dispatcher", "adj", "_sock", "sockinfo", "kw"}
    assert issubclass(BadRequest, Error)
    assert Error("why").body == "why"


def test_a_request_is_appended_before_its_task_is_added() -> None:
    """`Listener.add_task` looks at the first request of the connection that it is given."""
    tasks: list[int] = []
    server = SimpleNamespace(active_channels={}, add_task=lambda channel: tasks.append(len(channel.requests)))
    ours, theirs = socket.socketpair()
    with theirs:
        connection = HTTPChannel(server, ours, ("127.0.0.1", 1), Adjustments(host="127.0.0.1", port=0), map={})
        connection.received(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        connection.handle_close()
    assert tasks == [1]
