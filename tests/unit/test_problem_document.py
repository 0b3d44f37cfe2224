"""Problem documents: every server of ours writes the same one, and every client reads it."""

import http.client
from typing import Any, NoReturn, cast

import pytest

from eaves.delivery.response_rules import describe_response
from eaves.errors import NotFoundError, OverloadedError
from eaves.ingress.request import answer_error
from eaves.local.server import PlatformRoutes, WebServer, bind_port
from eaves.local.supervisor import Supervisor
from eaves.problem_document import (
    CONTENT_TYPE,
    MAX_BYTES,
    build_problem,
    describe_reason,
    find_kind,
    parse_problem,
    revision_mark,
)

LONG = '😀"' * 2000


class FailingSupervisor:
    """A supervisor that fails each request in the same way."""

    queue: Any = None
    images: Any = None

    def __init__(self, error: Exception) -> None:
        self._error = error

    def _fail(self, *_: object) -> NoReturn:
        raise self._error

    accept = forward = status = reconcile = _fail


def ask_platform(error: Exception) -> tuple[http.client.HTTPResponse, bytes]:
    server = WebServer(PlatformRoutes(cast(Supervisor, FailingSupervisor(error))), listening=bind_port("127.0.0.1", 0))
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request("POST", "/functions/flowers", b"")
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()
        server.stop()


def test_every_server_says_what_kind_of_problem_it_is_within_700_bytes():
    error = NotFoundError(LONG, hint=LONG)
    (platform, body), ingress = ask_platform(error), answer_error(error)
    assert {platform.headers["Content-Type"], ingress.headers["Content-Type"]} == {CONTENT_TYPE}
    assert [find_kind(parse_problem(one)) for one in (body, ingress.body)] == ["not-found", "not-found"]
    assert max(len(body), len(ingress.body)) <= MAX_BYTES


def test_the_reason_of_a_refusal_keeps_the_revision_that_refused():
    revision = "f" * 57 + "-00002"
    body = build_problem(422, LONG, LONG, kind="image", revision=revision)
    reason = describe_response(422, body)
    assert len(body) <= MAX_BYTES
    assert revision_mark(revision) in reason
    assert revision_mark("f" * 57 + "-0000") not in reason, "no part of a name is enough"
    assert describe_reason(reason).startswith("answered 422: 😀")
    assert find_kind(parse_problem(body)) == "image"


def test_the_local_platform_says_when_a_full_function_is_to_be_asked_again():
    answer, _ = ask_platform(OverloadedError("its queue is full"))
    assert (answer.status, answer.headers["Retry-After"]) == (429, "1")


def test_a_defect_of_the_local_platform_has_an_id_that_its_log_has_too(caplog: pytest.LogCaptureFixture):
    problem = parse_problem(ask_platform(ZeroDivisionError("secret"))[1])
    (record,) = caplog.records
    assert record.error_id in problem["detail"]  # type: ignore[attr-defined]
    assert "secret" not in str(problem)
    assert problem["hint"] == "find this id in the log"


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ('answered 503: {"type": "x", "detail": "it is full"}', "answered 503: it is full"),
        ('answered 422: {"type": "x", "detail": "a \\"b\\" \\u00e', 'answered 422: a "b" '),
        ('answered 500: {"detail": 7}', 'answered 500: {"detail": 7}'),
        ("answered 500: {oops", "answered 500: {oops"),
        ("connection refused", "connection refused"),
    ],
)
def test_a_reason_has_the_detail_of_a_problem_document(reason: str, text: str):
    assert describe_reason(reason) == text
