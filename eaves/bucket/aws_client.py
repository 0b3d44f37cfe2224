"""HTTP client that sends one signed request at a time to S3, to SQS, or to a server compatible with them.

One time limit covers the whole exchange, whatever the server does: a timer ends it. The timer uses real time, because
sockets can't use the clock of a test.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from eaves.base.clock import SYSTEM, Clock
from eaves.credentials.aws_signature import sign_request
from eaves.credentials.folder import AUTHORITIES, read_aws_keys, read_credentials
from eaves.errors import ConfigError, DeliveryError, Fault, UnreachableError
from eaves.http_client.connection_errors import find_connection_fault
from eaves.http_client.pools import HttpClient
from eaves.http_client.proxies import DIRECT, Proxies
from eaves.http_client.response_body import LargeAnswerError, read_body

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 20.0
"""Time limit for each wait for the next bytes of an answer, seconds."""
TOTAL_TIMEOUT_S = 60.0
"""Time limit for one request with its answer, seconds. 20 MB at 3 Mbit/s take 53 s."""
CONNECTIONS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Answer to a request.

    Attributes:
        status: HTTP status.
        headers: Headers; names are found in any case.
        body: Body, unpacked; of an answer that isn't a success only its beginning.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class AwsClient:
    """Sends requests to one service. Many threads can use it. It follows no redirects and repeats no request.

    Args:
        region: Region that requests are signed for.
        service: Service that requests are signed for: `s3` or `sqs`.
        credentials: Folder with those of the files `access_key`, `secret_key`, `session_token` and `ca.crt` that are
            needed; they are read at each request. None sends requests without a signature.
        proxies: Proxies of the process.
        clock: Wall clock, for the time of signatures.
        timeout_s: Time limit for one request with its answer, seconds.
    """

    def __init__(
        self,
        *,
        region: str,
        service: str,
        credentials: Path | None,
        proxies: Proxies = DIRECT,
        clock: Clock = SYSTEM,
        timeout_s: float = TOTAL_TIMEOUT_S,
    ) -> None:
        self._region = region
        self._service = service
        self._credentials = credentials
        self._proxies = proxies
        self._clock = clock
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._http: HttpClient | None = None
        self._authorities = ""
        self._aborted = False

    def send(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes = b"", max_bytes: int
    ) -> Answer:
        """Send one request and return the answer, whatever its status is.

        Args:
            method: HTTP method.
            url: URL, percent-encoded.
            headers: Headers, which are signed.
            body: Body of the request.
            max_bytes: Maximum size of the body of a success, bytes.

        Raises:
            UnreachableError: When there is no answer.
            LargeAnswerError: When the answer is larger than `max_bytes`.
            ConfigError: When the credentials can't be read.
        """
        http = self._connect()
        if self._aborted:
            raise UnreachableError("the request was not sent, because its sender stops")
        sent = {"User-Agent": "eaves", "Accept-Encoding": "identity", **self._sign(method, url, headers or {}, body)}
        deadline = time.monotonic() + self._timeout_s
        timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=min(READ_TIMEOUT_S, self._timeout_s))
        try:
            with _ended_after(self._timeout_s, http):
                response = http.request(method, url, headers=sent, body=body or None, timeout=timeout)
                if method == "HEAD":
                    response.release_conn()
                    return Answer(status=response.status, headers=response.headers, body=b"")
                content = read_body(response, deadline, max_bytes=max_bytes)
        except LargeAnswerError:
            raise
        except (HTTPError, OSError, ValueError) as error:
            raise self._explain(error, url, late=time.monotonic() >= deadline) from error
        return Answer(status=response.status, headers=response.headers, body=content)

    def abort(self) -> None:
        """End the requests in progress, and all later ones, from any thread."""
        self._aborted = True
        http = self._http
        if http is not None:
            http.abort()

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            if self._http is not None:
                self._http.close()
            self._http = None

    def _connect(self) -> HttpClient:
        """Return the HTTP client, or a new one when the authorities to trust have changed."""
        folder = self._credentials
        authorities = read_credentials(folder).authorities_pem
        with self._lock:
            if self._http is None or authorities != self._authorities:
                try:
                    http = HttpClient(proxies=self._proxies, ca_certs_pem=authorities, connections=CONNECTIONS)
                except ValueError as error:
                    fault = Fault(origin="credentials", path=f"{folder}/{AUTHORITIES}", message=str(error))
                    raise ConfigError([fault], hint=f"ls -l {folder}") from error
                if self._http is not None:
                    self._http.close()
                self._http, self._authorities = http, authorities
            return self._http

    def _sign(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> dict[str, str]:
        """Return all headers of a request; without keys, it isn't signed."""
        keys = read_aws_keys(self._credentials) if self._credentials is not None else None
        if keys is None:
            return dict(headers)
        signature = sign_request(
            method,
            url,
            keys=keys,
            region=self._region,
            service=self._service,
            at=datetime.fromtimestamp(self._clock.now(), UTC),
            headers=headers,
            payload_sha256=hashlib.sha256(body).hexdigest(),
        )
        return {**headers, **signature}

    def _explain(self, error: Exception, url: str, *, late: bool) -> DeliveryError:
        """Return the error for a request without an answer; the same fault gives the same text each time."""
        host = urlsplit(url).netloc
        if late:
            return UnreachableError(f"{host} did not answer completely within {self._timeout_s:g} s")
        fault = find_connection_fault(error)
        if fault is not None:
            return UnreachableError(f"no connection to {host}: {fault.reason[:256]}", hint=fault.hint)
        if isinstance(error, TimeoutError | urllib3.exceptions.TimeoutError):
            return UnreachableError(f"{host} did not send anything for {READ_TIMEOUT_S:g} s")
        return UnreachableError(f"{host} closed the connection before its answer was complete")


@contextmanager
def _ended_after(timeout_s: float, http: HttpClient) -> Iterator[None]:
    timer = threading.Timer(timeout_s, http.abort)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
