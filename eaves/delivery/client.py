"""The HTTP client of a sink."""

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

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    """An HTTP response as it came, its body bounded.

    Attributes:
        status: HTTP status.
        headers: Its headers, names in lower case.
        body: All of it after a 2xx, its first 64 KiB otherwise.
        latency_ms: From sending to the last byte.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    latency_ms: float


class SinkClient:
    """Sends over HTTP on kept connections, from many threads. No redirects, and no retries: the spool does those.

    Args:
        connections: Connections kept per host.
        ca_certs_pem: Certificate authorities to trust beside the system's, as PEM (Knative's `K_CA_CERTS`).
        proxies: Proxies of the process; loopback is always reached directly.
        certificate: Files of a certificate and its private key, as PEM, that servers are shown when they ask for one.
        socket_options: Options of every connection's socket, as `setsockopt` takes them, in place of urllib3's own.
        clock: For Retry-After dates. The time limits of an exchange are real time, as sockets know no other.

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
        """End every exchange that is under way, from any thread: whoever waits in one gets a DeliveryError."""
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
        """Send one event in binary mode and read the answer.

        Args:
            url: The sink.
            event: What to send.
            prefer_reply: Say that a CloudEvent in the answer is wanted.
            timeout_s: For the exchange, see `exchange`.
            more_headers: Beside those of the event.

        Raises:
            EventError: When the event can't be encoded; it never can.
            UnreachableError: When nothing was sent: no connection, a proxy that refuses it, or TLS that failed.
            DeliveryError: When there is no usable answer.
        """
        headers, body = build_message(event, prefer_reply=prefer_reply, more_headers=more_headers)
        answer = self.exchange("POST", url, headers=headers, body=body, timeout_s=timeout_s)
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
        """One request as it is, and its answer as it came.

        Args:
            method: GET or POST.
            url: Where to.
            headers: Of the request.
            body: Of the request; in pieces it needs a header Content-Length.
            connect_s: For connecting, and for each piece to be sent.
            timeout_s: For connecting and then for every wait for bytes; an answer that trickles is cut when it is over.

        Raises:
            UnreachableError: When nothing was sent: no connection, a proxy that refuses it, or TLS that failed.
            DeliveryError: When there is no usable answer.
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
    """Headers and body of the request that delivers an event; arguments as for `SinkClient.post`."""
    headers, body = encode_binary(event)
    headers |= more_headers or {}
    if prefer_reply:
        headers["Prefer"] = "reply"
    return headers, body


def read_answer(answer: HttpAnswer, url: str, event: Event, *, now: float) -> SinkResponse:
    """What an HTTP answer says of an event.

    Args:
        answer: The answer.
        url: Who gave it, for the log.
        event: What was sent.
        now: Unix seconds, for Retry-After dates.
    """
    reply, fault = None, ""
    # "Responses with a 202 response code MUST NOT be processed as reply events" (data plane contract).
    if choose_action(answer.status) is DeliveryAction.DONE and answer.status != ACCEPTED and is_event(answer.headers):
        try:
            reply = decode(answer.headers, answer.body)
        except EventError as error:
            fault = shorten(str(error))
            _log.warning("%s answered event %s with a broken CloudEvent: %s", url, event.id[:64], error)
    return SinkResponse(
        status=answer.status,
        event=reply,
        body=answer.body if reply is None else b"",
        fault=fault,
        retry_after_s=parse_retry_after(answer.headers.get("retry-after"), now),
        latency_ms=answer.latency_ms,
    )


def no_answer(url: str, error: Exception) -> DeliveryError:
    """The error of a request that was sent and has no usable answer."""
    return DeliveryError(f"no answer from {url}: {shorten(str(error))}", hint="check that it runs")
