"""Fetches data that an event refers to by `dataref` (claim check), with protection against request forgery.

A host's addresses are resolved once and checked, and the connection uses the checked address itself, so a name that
resolves to another address a moment later has no effect. Each redirect passes the same checks; bytes and time are
limited. A tunnel through a proxy leads to the checked address too. Requests for
private objects are signed (`functions.request_signer`), and never after a redirect to another host.

While a link is down, something else may answer in the store's place: a router, a captive portal, a proxy. So the event
is at fault only by an answer that proves to be the store's own:

- by TLS, in which the host's certificate was verified, at the dataref and at each redirect;
- or by the header that every answer of the S3 API has;
- or, for an error, by the code in its body, as S3, MinIO, Google and Azure write it.

Such an answer becomes a ClaimError (422), and the event a dead letter. Any other answer becomes a DeliveryError (503):
the sender keeps the event and sends it again. So does an answer that a changed key or permission would turn into a
success, as a ClaimDeniedError (503), so that a wrong key loses no image.

Source: CloudEvents extension dataref (extensions/dataref.md).
"""

from __future__ import annotations

import io
import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import SplitResult, urljoin

from eaves.errors import ClaimDeniedError, ClaimError, ClaimTooLargeError, DeliveryError, EavesError, UnreachableError
from eaves.http_client.client import BROKEN, CHUNK_BYTES, HttpClient, HttpResponse, open_tunnel
from eaves.http_client.headers import REDIRECTS
from eaves.http_client.proxies import DIRECT, PORTS, Proxies, Proxy
from eaves.http_client.trust import build_tls_context
from functions.url_policy import IpAddress, UrlPolicy, is_presigned

if TYPE_CHECKING:
    from functions.request_signer import RequestSigner


RETRY_HINT = "send again later"
_TRANSIENT = frozenset({408, 409, 425, 429})
"""HTTP statuses 4xx after which fetching the same data may succeed on a later attempt."""
_DENIED = frozenset({401, 403})
_DENIED_IF_SIGNED = frozenset({301, 307, 400})
"""Statuses with which S3 refuses a signed request: a bucket in another region without a Location to follow, and a wrong
region or expired token. Source: Amazon S3, API Reference, Error responses."""
_STORE_HEADER = "x-amz-request-id"
"""Source: Amazon S3, API Reference, Common response headers; MinIO and Ceph send it too."""
_CODE = re.compile(rb"<Code>([A-Za-z0-9]{1,64})</Code>")
"""The code of an error in the body of S3's answer, such as `SignatureDoesNotMatch`."""
_BODY_BYTES = 4096
_ACCESS_HINT = "check the keys in dataref_credentials, dataref_region, the bucket's policy and the function's clock"


class Trail(NamedTuple):
    """What is known of the way from a dataref to the URL that answers.

    Attributes:
        verified: Whether each host up to this answer has proved its name by a certificate.
        misled: Whether a redirect that may not be the store's own led to this URL, so that even the store's answer is
            about something else.
    """

    verified: bool
    misled: bool


def is_from_store(response: HttpResponse, trail: Trail) -> bool:
    """Return whether the headers of an answer, or a verified certificate, show that it is the store's own."""
    return not trail.misled and (trail.verified or _STORE_HEADER in response.headers)


def read_refusal(response: HttpResponse, *, signed: bool, presigned: bool, trail: Trail) -> EavesError:
    """Return the error for an answer that isn't the data of a dataref.

    Args:
        response: The answer; the beginning of its body is read.
        signed: Whether the function signed the request.
        presigned: Whether the URL carries a signature of its own, which may have expired.
        trail: What is known of the way to the URL that answers.
    """
    status = response.status
    if status >= 500 or status in _TRANSIENT:
        return DeliveryError(f"the host of a dataref answered {status}", hint=RETRY_HINT)
    code = _CODE.search(response.read(_BODY_BYTES))
    answered = f"the host of a dataref answered {status}" + (f" ({code[1].decode('ascii')})" if code else "")
    if (status in _DENIED and not presigned) or (status in _DENIED_IF_SIGNED and signed):
        hint = _ACCESS_HINT if signed else "set dataref_credentials, or allow reading without a key"
        return ClaimDeniedError(answered, hint=hint)
    if (code and not trail.misled) or is_from_store(response, trail):
        return ClaimError(answered, hint="send the data itself")
    return DeliveryError(f"{answered}, and nothing shows that the answer is the store's own", hint=RETRY_HINT)


MAX_REDIRECTS = 3

Resolve = Callable[[str, int], Sequence[str]]
"""Function from a host name and a port to the IP addresses of the host, as text."""
Reserve = Callable[[int], None]
"""Function that reserves memory for a number of bytes, and raises an exception when there is none left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedData:
    """Data that were fetched from the URL of a dataref.

    Attributes:
        data: The data.
        content_type: Their content type; empty when the answer had none.
        proven: Whether the answer was the store's own (`functions.dataref`).
    """

    data: bytes
    content_type: str
    proven: bool


def resolve_host(host: str, port: int) -> list[str]:
    """Return the IP addresses of a host from the operating system's resolver."""
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class DatarefFetcher:
    """Fetches data that events refer to; safe to use from many threads.

    Args:
        policy: Policy that says which URLs and addresses may be fetched.
        max_bytes: Maximum size of the data, bytes.
        timeout_s: Time limit of one fetch including its redirects, seconds.
        resolve: Function that returns a host's IP addresses.
        context: TLS context; None: the system's trusted authorities, or those that SSL_CERT_FILE names.
        proxies: Proxies that requests are sent through; the connection to a proxy has no TLS.
        signer: Signs the requests to the host that a dataref names; None: no request is signed.
    """

    def __init__(
        self,
        policy: UrlPolicy,
        *,
        max_bytes: int,
        timeout_s: float,
        resolve: Resolve = resolve_host,
        context: ssl.SSLContext | None = None,
        proxies: Proxies = DIRECT,
        signer: RequestSigner | None = None,
    ) -> None:
        self._policy = policy
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._resolve = resolve
        self._context = context
        self._proxies = proxies
        self._signer = signer
        self._authorities_pem = ""

    def fetch(self, reference: str, reserve: Reserve = lambda size_bytes: None) -> FetchedData:
        """Fetch the data that a dataref refers to.

        Args:
            reference: URL of the data.
            reserve: Function that is called with each number of bytes before they are stored; its exceptions end the
                fetch.

        Raises:
            ClaimError: When the data may not be fetched, or the store says that they don't exist.
            ClaimTooLargeError: When the data are larger than allowed.
            ClaimDeniedError: When the data's host refuses the function's access.
            UnreachableError: When the data's host can't be reached.
            DeliveryError: When the data don't arrive in time, their host fails, or the answer isn't the store's own.
        """
        end, url, parts = time.monotonic() + self._timeout_s, reference, self._policy.check_url(reference)
        first, trail = _origin(parts), Trail(verified=True, misled=False)
        for _ in range(MAX_REDIRECTS + 1):
            trail = trail._replace(verified=trail.verified and parts.scheme == "https")
            found = self._get(url, parts, end, reserve, signed=_origin(parts) == first, trail=trail)
            if isinstance(found, FetchedData):
                return found
            place, is_stores = found
            trail = trail._replace(misled=not is_stores)
            url, parts = self._follow(url, place)
        raise DeliveryError(f"the dataref redirects more than {MAX_REDIRECTS} times", hint=RETRY_HINT)

    def _get(
        self, url: str, parts: SplitResult, end: float, reserve: Reserve, *, signed: bool, trail: Trail
    ) -> FetchedData | tuple[str, bool]:
        """Send one GET request; return the data, or where the store, or something in its place, redirects to.

        A redirect is returned as its Location and whether the answer proves to be the store's own.

        Args:
            url: URL to fetch, which has passed the policy.
            parts: Parts of the URL.
            end: Time at which the fetch ends, of the monotonic clock.
            reserve: Function that reserves memory.
            signed: Whether to sign the request, which only requests to the host of the dataref itself are.
            trail: What is known of the way to this URL.
        """
        headers = {"Accept-Encoding": "identity", "User-Agent": "eaves"}
        signature = self._signer.sign(url) if self._signer is not None and signed else {}
        proxy = self._proxies.find(url)

        def dial(host: str, port: int, _: float) -> socket.socket:
            addresses = self._policy.allowed_addresses(host, self._look_up(host, port, end))
            if proxy is not None:
                return self._tunnel(host, addresses, port, proxy, end)
            return self._connect(host, addresses, port, end)

        http = HttpClient(tls=self._find_context, dial=dial, connections=0)
        left_s = self._left_s(end)
        try:
            sent = {**headers, **signature}
            with http.open("GET", url, headers=sent, connect_s=left_s, wait_s=left_s, total_s=left_s) as response:
                if response.status in REDIRECTS and (place := response.headers.get("Location")):
                    return place, is_from_store(response, trail)
                if response.status != 200:
                    presigned = is_presigned(parts.query)
                    raise read_refusal(response, signed=bool(signature), presigned=presigned, trail=trail)
                found = self._read(response, reserve, proven=is_from_store(response, trail))
        except BROKEN as error:
            self._left_s(end)
            what = str(error) or type(error).__name__
            raise DeliveryError(f"the data of a dataref can't be fetched: {what[:200]}", hint=RETRY_HINT) from error
        self._left_s(end)  # a connection that was cut off looks as if it had ended
        return found

    def _follow(self, url: str, place: str) -> tuple[str, SplitResult]:
        """Return the URL that an answer redirects to, and its parts; a fault of it isn't the event's."""
        try:
            target = urljoin(url, place)
            return target, self._policy.check_url(target)
        except (ValueError, ClaimError) as error:
            why = error.message if isinstance(error, ClaimError) else "it is not a URL"
            raise DeliveryError(
                f"the dataref redirects to a URL that may not be fetched: {why}",
                hint="send again later; if the store itself redirects there, allow it with dataref_hosts",
            ) from error

    def _left_s(self, end: float) -> float:
        left_s = end - time.monotonic()
        if left_s <= 0:
            raise DeliveryError(f"the data of a dataref did not arrive within {self._timeout_s:g} s", hint=RETRY_HINT)
        return left_s

    def _find_context(self) -> ssl.SSLContext:
        """Return the TLS context, which trusts the authorities beside the signer's keys too."""
        authorities_pem = self._signer.read_authorities() if self._signer is not None else ""
        if self._context is None or authorities_pem != self._authorities_pem:
            try:
                self._context = build_tls_context(authorities_pem)  # once: it reads every authority's certificate
            except ValueError as error:
                raise ClaimDeniedError(f"the file ca.crt of the function's keys can't be used: {error}") from error
            self._authorities_pem = authorities_pem
        return self._context

    def _connect(self, host: str, addresses: Sequence[IpAddress], port: int, end: float) -> socket.socket:
        fault: OSError | None = None
        for address in addresses:
            try:
                return socket.create_connection((str(address), port), timeout=self._left_s(end))
            except OSError as error:
                fault = error
        raise UnreachableError(
            f"the host {host[:80]!r} of a dataref can't be reached: {fault}", hint=RETRY_HINT
        ) from fault

    def _tunnel(self, host: str, addresses: Sequence[IpAddress], port: int, proxy: Proxy, end: float) -> socket.socket:
        """Return a connection through a proxy to the first of the host's addresses that the proxy can connect to.

        The proxy gets the address and never the host name: it would resolve the name itself, to an unchecked address,
        and an allowed name could then lead into the proxy's own network. So there is a tunnel for http:// as well.
        The proxy's own address is not checked: the operator of the function chose it, not the event.
        """
        own = [ipaddress.ip_address(text.partition("%")[0]) for text in self._look_up(proxy.host, proxy.port, end)]
        fault: OSError | None = None
        for address in addresses:
            sock = self._connect(proxy.host, own, proxy.port, end)
            try:
                open_tunnel(sock, proxy, str(address), port)
            except OSError as error:
                sock.close()
                fault = error
            else:
                return sock
        self._left_s(end)
        hint = "allow this host in the proxy, or add it to NO_PROXY; else it is tried again later"
        raise UnreachableError(
            f"the host {host[:80]!r} of a dataref can't be reached through the proxy: {fault}", hint=hint
        ) from fault

    def _look_up(self, host: str, port: int, end: float) -> Sequence[str]:
        """Resolve a host name until the time `end` at the latest; the system's own resolver has no time limit."""
        answer: list[Sequence[str]] = []
        fault: list[Exception] = []

        def ask() -> None:
            try:
                answer.append(self._resolve(host, port))
            except (OSError, UnicodeError) as error:
                fault.append(error)

        thread = threading.Thread(target=ask, daemon=True, name="resolve")
        thread.start()
        thread.join(self._left_s(end))
        if answer:
            return answer[0]
        why = fault[0] if fault else "no answer in time"
        raise UnreachableError(f"the host {host[:80]!r} of a dataref can't be resolved: {why}", hint=RETRY_HINT)

    def _read(self, response: HttpResponse, reserve: Reserve, *, proven: bool) -> FetchedData:
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            text = "the data of a dataref is compressed, although the request asked for uncompressed data"
            raise ClaimError(text) if proven else DeliveryError(text, hint=RETRY_HINT)
        too_large = ClaimTooLargeError(f"the data of a dataref has more than {self._max_bytes} bytes")
        if (response.length or 0) > self._max_bytes:
            raise too_large
        whole = io.BytesIO()  # its value is not a second copy
        while chunk := response.read1(CHUNK_BYTES):
            if whole.tell() + len(chunk) > self._max_bytes:
                raise too_large
            reserve(len(chunk))
            whole.write(chunk)
        content_type = response.headers.get("Content-Type", "")
        return FetchedData(data=whole.getvalue(), content_type=content_type, proven=proven)


def _origin(parts: SplitResult) -> tuple[str, str, int]:
    return parts.scheme, parts.hostname or "", parts.port or PORTS[parts.scheme]
