"""The HTTP client that sends events to a sink."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import urllib3
from urllib3.exceptions import HTTPError

from eaves.base.clock import SYSTEM, Clock
from eaves.delivery.response_rules import ACCEPTED, DeliveryAction, SinkResponse, choose_action, shorten
from eaves.errors import DeliveryError, EventError, UnreachableError
from eaves.events import Event, decode, encode_binary, is_event
from eaves.http_client.connection_errors import find_connection_fault
from eaves.http_client.pools import HttpClient
from eaves.http_client.proxies import DIRECT, Proxies
from eaves.http_client.response_body import read_body
from eaves.http_client.retry_after import parse_retry_after

MAX_ANSWER_BYTES = 16 << 20
CONNECT_TIMEOUT_S = 10.0
_PAGE_TYPES = frozenset({"text/html", "application/xhtml+xml"})

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    """An HTTP response with a body of limited size.

    Attributes:
        status: HTTP status.
        headers: Response headers, with names in lower case.
        body: Whole body of a 2xx response; the first 64 KiB of any other.
        latency_ms: Time from sending to the last byte of the response, in milliseconds.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    latency_ms: float


class SinkClient:
    """An HTTP client that keeps connections open and that many threads can use.

    It follows no redirects and retries nothing; the spool handles retries.

    Args:
        connections: Maximum number of connections kept open per host.
        ca_certs_pem: Certificate authorities to trust in addition to the system's, as PEM (Knative's `K_CA_CERTS`).
        proxies: Proxies of the process; loopback addresses are always reached directly.
        certificate: Paths of a client certificate and its private key, as PEM, for servers that ask for one.
        socket_options: Options of every connection's socket, as `setsockopt` takes them, in place of urllib3's own.
        clock: Clock for dates in Retry-After. The time limits of an exchange are in real time, because sockets support
            nothing else.

    Raises:
        ValueError: When `ca_certs_pem` or `certificate` holds no certificate that can be read.
    """

    def __init__(
        self,
        *,
        connections: int = 16,
        ca_certs_pem: str = "",
        proxies: Proxies = DIRECT,
        certificate: tuple[Path, Path] | None = None,
        socket_options: Sequence[tuple[int, int, int]] | None = None,
        clock: Clock = SYSTEM,
    ) -> None:
        self._http = HttpClient(
            proxies=proxies,
            ca_certs_pem=ca_certs_pem,
            connections=connections,
            certificate=certificate,
            socket_options=socket_options,
        )
        self._clock = clock

    def close(self) -> None:
        """Close every connection."""
        self._http.close()

    def abort(self) -> None:
        """End every exchange in progress, from any thread; each thread that waits in one gets a DeliveryError."""
        self._http.abort()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def post(
        self,
        url: str,
        event: Event,
        *,
        prefer_reply: bool,
        timeout_s: float,
        more_headers: Mapping[str, str] | None = None,
    ) -> SinkResponse:
        """Send one event in binary mode and read the response.

        Args:
            url: URL of the sink.
            event: Event to send.
            prefer_reply: Whether to ask for a CloudEvent in the response.
            timeout_s: Time limit of the exchange in seconds; see `exchange`.
            more_headers: Headers to send in addition to those of the event.

        Raises:
            EventError: When the event can't be encoded; a retry would fail too.
            UnreachableError: When nothing was sent, because no connection was made, a proxy refused it or TLS failed;
                or when a web page or a redirect shows that something else answered in place of the sink.
            DeliveryError: When there is no usable response.
        """
        headers, body = build_message(event, prefer_reply=prefer_reply, more_headers=more_headers)
        answer = self.exchange("POST", url, headers=headers, body=body, timeout_s=timeout_s)
        if what := _find_foreign_answer(answer):
            raise UnreachableError(
                f"{url} answered {answer.status} with {what}, so it is not the receiver of events that answered",
                hint="check the address, and whether a login page or a proxy is in between",
            )
        return read_answer(answer, url, event, now=self._clock.now())

    def exchange(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | Iterable[bytes | memoryview] = b"",
        timeout_s: float,
        connect_s: float = CONNECT_TIMEOUT_S,
    ) -> HttpAnswer:
        """Send one HTTP request and return the response unchanged.

        Args:
            method: GET or POST.
            url: URL of the request.
            headers: Headers of the request.
            body: Body of the request; a body in parts needs a Content-Length header.
            connect_s: Time limit for connecting, and for each part that is sent, in seconds.
            timeout_s: Time limit for connecting and then for every wait for bytes, in seconds. A response that arrives
                slowly is cut off when this time is over.

        Raises:
            UnreachableError: When nothing was sent, because no connection was made, a proxy refused it or TLS failed.
            DeliveryError: When there is no usable response.
        """
        started = time.monotonic()
        timeout = urllib3.Timeout(connect=min(connect_s, timeout_s), total=timeout_s)
        try:
            response = self._http.request(
                method, url, body=body, headers=headers, timeout=timeout, decode_content=False
            )
        except (HTTPError, OSError) as error:
            if (fault := find_connection_fault(error)) is not None:
                raise UnreachableError(f"no connection to {url}: {shorten(fault.reason)}", hint=fault.hint) from error
            raise no_answer(url, error) from error
        try:
            content = read_body(response, started + timeout_s, max_bytes=MAX_ANSWER_BYTES)
        except (HTTPError, OSError) as error:
            raise no_answer(url, error) from error
        return HttpAnswer(
            status=response.status,
            headers={name.lower(): value for name, value in response.headers.items()},
            body=content,
            latency_ms=(time.monotonic() - started) * 1000,
        )


def build_message(
    event: Event, *, prefer_reply: bool, more_headers: Mapping[str, str] | None = None
) -> tuple[dict[str, str], bytes]:
    """Return headers and body of the request that delivers an event; arguments as for `SinkClient.post`."""
    headers, body = encode_binary(event)
    headers |= more_headers or {}
    if prefer_reply:
        headers["Prefer"] = "reply"
    return headers, body


def read_answer(answer: HttpAnswer, url: str, event: Event, *, now: float) -> SinkResponse:
    """Return the sink's response with its reply event, when it has one.

    Args:
        answer: HTTP response.
        url: URL of the sink, for the log.
        event: Event that was sent.
        now: Current time in Unix seconds, for dates in Retry-After.
    """
    reply, fault = None, ""
    # "Responses with a 202 response code MUST NOT be processed as reply events" (data plane contract).
    if choose_action(answer.status) is DeliveryAction.DONE and answer.status != ACCEPTED and is_event(answer.headers):
        try:
            reply = decode(answer.headers, answer.body)
        except EventError as error:
            fault = shorten(str(error))
            _log.warning("%s answered event %s with an invalid CloudEvent: %s", url, event.id[:64], error)
    return SinkResponse(
        status=answer.status,
        event=reply,
        body=answer.body if reply is None else b"",
        fault=fault,
        retry_after_s=parse_retry_after(answer.headers.get("retry-after"), now, answer.headers.get("date")),
        latency_ms=answer.latency_ms,
    )


def _find_foreign_answer(answer: HttpAnswer) -> str:
    """Return what shows that an answer is not from a receiver of events, such as that of a captive portal; else empty.

    A receiver acknowledges an event with an empty body, text, JSON or a CloudEvent, and never redirects a POST.
    Source: RFC 8910 (captive portals redirect or answer with a page), RFC 6585, section 6 (status 511).
    """
    if 300 <= answer.status < 400:
        return f"a redirect to {shorten(answer.headers.get('location', 'nowhere'))}"
    media_type = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    begin = answer.body[:256].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    is_page = begin.startswith((b"<!doctype html", b"<html")) or (media_type in _PAGE_TYPES and begin.startswith(b"<"))
    if answer.status == 511 or (200 <= answer.status < 300 and is_page):
        return f"a web page: {shorten(answer.body[:1024].decode('utf-8', 'replace'), 120)}"
    return ""


def no_answer(url: str, error: Exception) -> DeliveryError:
    """Return the error for a request that was sent and got no usable response."""
    return DeliveryError(f"no answer from {url}: {shorten(str(error))}", hint="check that the receiving process runs")
