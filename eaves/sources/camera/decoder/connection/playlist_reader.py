"""Fetches HLS playlists and segments by Python's own HTTP client, which verifies certificates.

FFmpeg passes its TLS options to the first playlist only: it would accept any certificate for the playlists and segments
that this one names. Python's modules for HTTP are imported only when a stream is HLS.
"""

from __future__ import annotations

import time
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from eaves.sources.camera.decoder.connection.failures import StreamError
from eaves.sources.camera.wire import FailureCode

if TYPE_CHECKING:
    import urllib.request
    from http.client import HTTPMessage

MAX_PLAYLIST_BYTES = 4_000_000
"""Maximum size of a playlist, bytes. One of a day with segments of 2 seconds has about 3 MB; a live one has 1 kB."""
MAX_SEGMENT_BYTES = 200_000_000
"""Maximum size of a segment, bytes: 10 seconds at 160 Mbit/s."""
MAX_REQUESTS = 40
"""Maximum number of requests until the stream is open. A playlist may name others, of other qualities."""
MIN_INTERVAL_S = 0.05
"""Minimum time between two requests after that, seconds, for playlists whose segments have no length."""
MAX_REDIRECTS = 3
"""Maximum number of redirects of one request, as for MJPEG."""
_PLAYLIST = b"#EXTM3U"
"""First bytes of a playlist. Source: RFC 8216, section 4.3.1.1."""
_CODES: dict[int, FailureCode] = {401: "refused_login", 403: "refused_login", 404: "not_found", 410: "not_found"}


class PlaylistReader:
    """Opens addresses for FFmpeg.

    Args:
        url: Address of the playlist with its credentials, which only its own host gets.
        authorities: Path of a PEM file with the certificate authorities to trust; empty for the system's.
        certificate: Path of a client certificate; empty for none.
        key: Path of its key.
        timeout_s: Time limit of one operation of a connection, seconds.
    """

    def __init__(self, url: str, *, authorities: str, certificate: str, key: str, timeout_s: float) -> None:
        import ssl
        import urllib.request
        from urllib.parse import unquote

        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        self.address = urlunsplit((parts.scheme, host, parts.path, parts.query, ""))
        self.failure: StreamError | None = None
        self._timeout_s, self._deadline = timeout_s, time.monotonic() + timeout_s
        self._requests, self._requested_at, self._is_open, self._refused = 0, 0.0, False, False
        context = ssl.create_default_context(cafile=authorities or None)
        if certificate:
            context.load_cert_chain(certificate, key or None)
        passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
        if parts.username is not None:
            root = f"{parts.scheme}://{host}/"
            passwords.add_password(None, root, unquote(parts.username), unquote(parts.password or ""))
        self._opener = urllib.request.OpenerDirector()  # without the handlers of file:, ftp: and data:
        for handler in (
            urllib.request.ProxyHandler(),
            urllib.request.UnknownHandler(),
            urllib.request.HTTPHandler(),
            urllib.request.HTTPSHandler(context=context),
            urllib.request.HTTPDefaultErrorHandler(),
            _build_redirect_handler(parts.scheme),
            urllib.request.HTTPErrorProcessor(),
            _build_basic_handler(passwords),
            _build_digest_handler(passwords),
        ):
            self._opener.add_handler(handler)
        self._is_secure = parts.scheme == "https"

    def open(self, url: str, flags: int, options: dict[str, str]) -> Any:
        """Open an address; the callback `io_open` of PyAV."""
        if not url.startswith("https://" if self._is_secure else ("http://", "https://")):
            raise self._fail(StreamError("unsupported", "the playlist names an address that is not allowed"))
        self._pace()
        try:
            response = self._opener.open(url, timeout=self._timeout_s)
            return PlaylistBody(response, self)
        except StreamError as error:
            raise self._fail(error) from None
        except Exception as error:
            raise self._fail(_explain(error)) from error

    def finish_opening(self) -> None:
        """Note that the stream is open, so that the parent decides from now on how long it may be silent.

        Raises:
            StreamError: When the stream was refused; FFmpeg takes what it has read of a playlist for the whole.
        """
        self.check()
        self._is_open = True

    def check(self) -> None:
        """Check that the stream wasn't refused.

        Raises:
            StreamError: When it was.
        """
        if self._refused and self.failure is not None:
            raise self.failure

    def check_time(self) -> None:
        """Check the time limit, which holds until the stream is open.

        Raises:
            StreamError: When it is over.
        """
        if not self._is_open and time.monotonic() > self._deadline:
            raise self.refuse("unreachable", "the camera can't be reached: it didn't answer in time")

    def refuse(self, code: FailureCode, message: str) -> StreamError:
        """Return the error that ends the stream: no further address is opened, though FFmpeg asks for one."""
        self._refused = True
        return self._fail(StreamError(code, message))

    def _pace(self) -> None:
        """Limit the number of requests until the stream is open, and their rate after that."""
        self.check()
        self.check_time()
        self._requests += 1
        if not self._is_open and self._requests > MAX_REQUESTS:
            raise self.refuse("unsupported", f"the playlist leads to more than {MAX_REQUESTS} others and to no video")
        if self._is_open:
            time.sleep(max(0.0, self._requested_at + MIN_INTERVAL_S - time.monotonic()))
        self._requested_at = time.monotonic()

    def _fail(self, failure: StreamError) -> StreamError:
        self.failure = failure
        return failure


class PlaylistBody:
    """The body of an answer, of limited size; PyAV reads and closes it.

    Args:
        body: The answer.
        reader: Reader that the answer is for.
    """

    def __init__(self, body: IO[bytes], reader: PlaylistReader) -> None:
        self._body, self._reader = body, reader
        self._first: bytes | None = body.read(len(_PLAYLIST))
        self._is_playlist = self._first == _PLAYLIST
        self._left = MAX_PLAYLIST_BYTES if self._is_playlist else MAX_SEGMENT_BYTES

    def read(self, count: int) -> bytes:
        """Read at most `count` bytes.

        Raises:
            StreamError: When the body is larger than its limit.
        """
        self._reader.check_time()
        data, self._first = self._first or self._body.read(count), None
        self._left -= len(data)
        if self._left < 0:
            kind, limit = ("playlist", MAX_PLAYLIST_BYTES) if self._is_playlist else ("segment", MAX_SEGMENT_BYTES)
            raise self._reader.refuse("unsupported", f"a {kind} of the stream has more than {limit} bytes")
        return data

    def close(self) -> None:
        """Close the connection."""
        self._body.close()


def _build_basic_handler(
    passwords: urllib.request.HTTPPasswordMgrWithDefaultRealm,
) -> urllib.request.HTTPBasicAuthHandler:
    """Return a handler that leaves Digest authentication to its own handler, where Python's raises ValueError."""
    import urllib.request

    class BasicHandler(urllib.request.HTTPBasicAuthHandler):
        def http_error_401(
            self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage
        ) -> Any:
            try:
                return super().http_error_401(req, fp, code, msg, headers)
            except ValueError:
                return None

    return BasicHandler(passwords)


def _build_redirect_handler(scheme: str) -> urllib.request.HTTPRedirectHandler:
    """Return a handler that follows few redirects, and none from HTTPS to HTTP."""
    import urllib.request

    class RedirectHandler(urllib.request.HTTPRedirectHandler):
        max_redirections = MAX_REDIRECTS

        def redirect_request(
            self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
        ) -> urllib.request.Request | None:
            if scheme == "https" and not newurl.startswith("https://"):
                raise StreamError("unsupported", "the camera refers to an address that is not allowed")
            return super().redirect_request(req, fp, code, msg, headers, newurl)

    return RedirectHandler()


def _build_digest_handler(
    passwords: urllib.request.HTTPPasswordMgrWithDefaultRealm,
) -> urllib.request.HTTPDigestAuthHandler:
    """Return a handler that sends a refused password once. Python's own sends it six times; cameras lock accounts."""
    import urllib.request

    class DigestHandler(urllib.request.HTTPDigestAuthHandler):
        def retry_http_digest_auth(self, req: urllib.request.Request, auth: str) -> Any:
            if req.has_header(self.auth_header) and "stale=true" not in auth.lower().replace('"', ""):
                raise StreamError("refused_login")
            return super().retry_http_digest_auth(req, auth)

    return DigestHandler(passwords)


def _explain(error: Exception) -> StreamError:
    import ssl
    from urllib.error import HTTPError

    if isinstance(error, StreamError):
        return error
    if isinstance(error, HTTPError):
        code = _CODES.get(error.code)
        return StreamError(code) if code else StreamError("unreachable", f"the camera answers with {error.code}")
    reason = getattr(error, "reason", error)
    if isinstance(reason, ssl.SSLCertVerificationError):
        return StreamError("untrusted")
    return StreamError("unreachable", f"the camera can't be reached: {type(reason).__name__}")
