"""The HTTP client that sends events to a sink."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from eaves.delivery.response_rules import ACCEPTED, DeliveryAction, SinkResponse, choose_action, shorten
from eaves.errors import EventError, UnreachableError
from eaves.events import Event, decode, encode_binary, is_event
from eaves.http_client.client import HttpAnswer, HttpClient
from eaves.http_client.headers import parse_retry_after, shorten_url

_PAGE_TYPES = frozenset({"text/html", "application/xhtml+xml"})

_log = logging.getLogger(__name__)


class SinkClient(HttpClient):
    """The HTTP client of sinks and functions. The spool handles retries."""

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
            timeout_s: Time limit of the exchange in seconds; see `request`.
            more_headers: Headers to send in addition to those of the event.

        Raises:
            EventError: When the event can't be encoded; a retry would fail too.
            UnreachableError: When nothing was sent, because no connection was made, a proxy refused it or TLS failed;
                or when a web page or a redirect shows that something else answered in place of the sink.
            DeliveryError: When there is no usable response.
        """
        headers, body = encode_binary(event)
        headers |= more_headers or {}
        if prefer_reply:
            headers["Prefer"] = "reply"
        answer = self.request("POST", url, headers=headers, body=body, timeout_s=timeout_s)
        if what := _find_foreign_answer(answer):
            where = shorten_url(url)
            raise UnreachableError(
                f"{where} answered {answer.status} with {what}, so it is not the receiver of events that answered",
                hint="check the address, and whether a login page or a proxy is in between",
            )
        reply, fault = None, ""
        # "Responses with a 202 response code MUST NOT be processed as reply events" (data plane contract).
        done = choose_action(answer.status) is DeliveryAction.DONE
        if done and answer.status != ACCEPTED and is_event(answer.headers):
            try:
                reply = decode(answer.headers, answer.body)
            except EventError as error:
                fault = shorten(str(error))
                where, number = shorten_url(url), event.id[:64]
                _log.warning("%s answered event %s with an invalid CloudEvent: %s", where, number, error)
        return SinkResponse(
            status=answer.status,
            event=reply,
            body=answer.body if reply is None else b"",
            fault=fault,
            retry_after_s=parse_retry_after(answer.headers),
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
