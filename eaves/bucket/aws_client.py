"""boto3's client of S3: credentials, time limits, and what an error means. The one import of boto3.

boto3 limits the wait for the next bytes only, and its requests can't be ended from another thread. Therefore each
request runs in a thread of its own, and its caller stops waiting when the time is over or `abort` is called.
"""

from __future__ import annotations

import base64
import contextlib
import ssl
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, InvalidStateError
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from eaves.credentials import AUTHORITIES, AwsKeys, build_fault, read_aws_keys, read_credentials
from eaves.errors import (
    ConfigError,
    EavesError,
    Fault,
    ForbiddenError,
    NotFoundError,
    StatusError,
    UnreachableError,
)
from eaves.http_client.explain import ProxyError, explain
from eaves.http_client.proxies import DIRECT, Proxies
from eaves.http_client.trust import build_tls_context

try:
    import boto3
    from botocore import UNSIGNED
    from botocore import exceptions as aws
    from botocore.config import Config
    from botocore.parsers import ResponseParserError
except ImportError as missing:
    missing_fault = Fault(origin="packages", path="boto3", message="is not installed; sources with a bucket need it")
    raise ConfigError(
        [missing_fault], hint="python -m pip install '.[s3]'   # in a checkout; on a cluster: target agent-s3"
    ) from missing

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 20.0
"""Time limit for each wait for the next bytes of an answer, seconds. It is longer than `WAIT_S` of a queue."""
TOTAL_TIMEOUT_S = 60.0
"""Time limit for one request with its answer, seconds. 20 MB at 3 Mbit/s take 53 s."""
MAX_ATTEMPTS = 2
"""Number of attempts for one request; callers try again after longer pauses."""
_REFUSED: Mapping[str, str] = {
    "InvalidAccessKeyId": "the store doesn't know the access key",
    "InvalidClientTokenId": "the service doesn't know the access key",
    "SignatureDoesNotMatch": "the secret key is wrong",
    "InvalidSignatureException": "the secret key is wrong",
    "InvalidToken": "the session token is wrong",
    "ExpiredToken": "the session token has expired",
    "ExpiredTokenException": "the session token has expired",
    "TokenRefreshRequired": "the session token has expired",
    "RequestTimeTooSkewed": "this machine's clock differs from the store's by more than 15 minutes; set it",
}
"""Meaning of codes that concern the credentials. Source: Amazon S3 API Reference, Error responses; AWS Security Token
Service API Reference, common errors."""
_OTHER_REGION = {"301", "307", "308", "PermanentRedirect", "AuthorizationHeaderMalformed"}
_GONE = {
    "404": "does not exist",
    "NoSuchKey": "does not exist",
    "412": "was replaced",
    "PreconditionFailed": "was replaced",
    "InvalidObjectState": "is in an archive",
}
T = TypeVar("T")


class AwsClient:
    """Sends requests to one store by boto3. Many threads can use it.

    With keys in the folder `credentials`, requests are signed with them. Otherwise boto3 finds credentials itself:
    environment variables, a profile or SSO session, a web identity (IRSA), the role of the container or the machine.
    Without any, requests are not signed, as public buckets accept them.

    Args:
        endpoint: Address of the service; empty for that of Amazon.
        region: Region of the service.
        shown: Name of what is used, for messages, such as `bucket photos at minio.example`.
        credentials: Folder with those of the files `access_key`, `secret_key`, `session_token` and `ca.crt` that are
            needed; they are read at each request.
        proxies: Proxies of the process.
        timeout_s: Time limit for one request with its answer, seconds.
    """

    def __init__(
        self,
        *,
        endpoint: str,
        region: str,
        shown: str,
        credentials: Path | None,
        proxies: Proxies = DIRECT,
        timeout_s: float = TOTAL_TIMEOUT_S,
    ) -> None:
        self._endpoint = endpoint
        self._region = region
        self._shown = shown
        self._credentials = credentials
        self._proxies = proxies
        self._timeout_s = timeout_s
        self._lock, self._building = threading.Lock(), threading.Lock()
        self._client: Any = None
        self._built_for: tuple[AwsKeys | None, str] | None = None
        self._waiting: set[Future[Any]] = set()
        self._aborted = False

    def request(self, send: Callable[[Any], T], what: str) -> T:
        """Return what `send` returns, which gets boto3's client and sends one request.

        Args:
            send: Sends the request and reads its answer; it runs in another thread.
            what: What is requested, such as `the object gate/1.jpg`, for messages.

        Raises:
            UnreachableError: When there is no complete answer.
            NotFoundError: When the bucket, the object or this version of it doesn't exist.
            ConfigError: When the credentials, the region or this machine's clock are wrong.
            ForbiddenError: When the credentials are right and don't allow the request.
            StatusError: For any other answer.
        """
        future: Future[T] = Future()
        with self._lock:
            if self._aborted:
                raise UnreachableError("the request was not sent, because its sender stops")
            self._waiting.add(future)
        threading.Thread(target=self._send, args=(future, send), name="s3", daemon=True).start()
        try:
            return future.result(self._timeout_s)
        except TimeoutError as error:
            raise UnreachableError(f"the {self._shown} did not answer within {self._timeout_s:g} s") from error
        except aws.ClientError as error:
            raise self._explain_refusal(error.response, what) from error
        except (aws.BotoCoreError, ResponseParserError, ValueError) as error:
            raise self._explain(error) from error
        finally:
            with self._lock:
                self._waiting.discard(future)

    def abort(self) -> None:
        """End the wait for requests in progress, and refuse all later ones, from any thread."""
        with self._lock:
            self._aborted = True
            waiting = list(self._waiting)
        for future in waiting:
            with contextlib.suppress(InvalidStateError):
                future.set_exception(UnreachableError("the request was ended, because its sender stops"))

    def close(self) -> None:
        """Close every connection."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _send(self, future: Future[T], send: Callable[[Any], T]) -> None:
        with contextlib.suppress(InvalidStateError):  # nobody waits for it any more
            try:
                future.set_result(send(self._connect()))
            except Exception as error:  # noqa: BLE001 - it is raised where somebody waits
                future.set_exception(error)

    def _connect(self) -> Any:
        """Return boto3's client, or a new one when the files of the credentials have changed."""
        folder = self._credentials
        keys = read_aws_keys(folder) if folder is not None else None
        needed = keys, read_credentials(folder).authorities_pem
        with self._building:
            if self._client is None or needed != self._built_for:
                self.close()
                self._client, self._built_for = self._build(*needed), needed
            return self._client

    def _build(self, keys: AwsKeys | None, authorities_pem: str) -> Any:
        given = (keys.access_key, keys.secret_key, keys.session_token or None) if keys else (None, None, None)
        session = boto3.session.Session(*given, region_name=self._region)
        config = Config(
            connect_timeout=min(CONNECT_TIMEOUT_S, self._timeout_s),
            read_timeout=min(READ_TIMEOUT_S, self._timeout_s),
            retries={"mode": "standard", "total_max_attempts": MAX_ATTEMPTS},
            proxies=self._find_proxies(),
            ignore_configured_endpoint_urls=True,
            s3={
                "addressing_style": "path" if self._endpoint else "auto",
                "us_east_1_regional_endpoint": "regional",
            },
            # Stores beside Amazon S3 don't all know the checksums that boto3 would add.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        if session.get_credentials() is None:
            config = config.merge(Config(signature_version=UNSIGNED))
        client = session.client(
            "s3",
            endpoint_url=self._endpoint or None,
            config=config,
            verify=self._find_authorities(authorities_pem),
        )
        client.meta.events.register("before-call.s3", _forbid_other_regions)
        return client

    def _find_authorities(self, pem: str) -> str | None:
        """Return the file of authorities to trust: `ca.crt` of the credentials, else the system's; None for boto3's."""
        if not pem:
            return ssl.get_default_verify_paths().cafile
        path = f"{self._credentials}/{AUTHORITIES}"
        try:
            build_tls_context(pem)
        except ValueError as error:
            raise build_fault(Path(path), str(error), f"ls -l {self._credentials}") from error
        return path

    def _find_proxies(self) -> dict[str, str]:
        """Return the proxy by scheme, with its user name and password."""
        found = {}
        for scheme in ("http", "https"):
            address = self._endpoint or f"https://s3.{self._region}.amazonaws.com"
            if address.startswith(f"{scheme}:") and (proxy := self._proxies.find(address)):
                user, _, password = base64.b64decode(proxy.authorization.partition(" ")[2]).decode().partition(":")
                login = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user else ""
                found[scheme] = proxy.url.replace("://", f"://{login}")
        return found

    def _explain(self, error: Exception) -> EavesError:
        """Return the error for a request without a usable answer; the same fault gives the same text each time."""
        if isinstance(error, aws.EndpointConnectionError | aws.SSLError | aws.ProxyConnectionError):
            found = explain(error.kwargs["error"])
            if isinstance(error, aws.ProxyConnectionError):
                found = explain(ProxyError(f"the proxy can't be reached: {found.reason}"))
            return UnreachableError(f"no connection to the {self._shown}: {found.reason[:256]}", hint=found.hint)
        if isinstance(error, aws.ReadTimeoutError | aws.ConnectTimeoutError):
            return UnreachableError(f"the {self._shown} did not send anything for {READ_TIMEOUT_S:g} s")
        if isinstance(error, aws.HTTPClientError | aws.ResponseStreamingError | aws.IncompleteReadError):
            return UnreachableError(f"the {self._shown} closed the connection before its answer was complete")
        if isinstance(error, aws.PaginationError | ResponseParserError | ValueError):
            return StatusError(f"the answer of the {self._shown} can't be used: {str(error)[:160]}", status=502)
        message = f"boto3 can't use its credentials or settings ({type(error).__name__}): {str(error)[:160]}"
        return ConfigError([Fault(origin=self._shown, path="", message=message)], hint="check the credentials")

    def _explain_refusal(self, response: Mapping[str, Any], what: str) -> EavesError:
        """Return the error for an answer that isn't a success; the same refusal gives the same text each time."""
        metadata, error = response.get("ResponseMetadata", {}), response.get("Error", {})
        status, code = int(metadata.get("HTTPStatusCode", 502)), str(error.get("Code", ""))[:64]
        region = metadata.get("HTTPHeaders", {}).get("x-amz-bucket-region") or error.get("Region", "")
        if code == "NoSuchBucket":
            return NotFoundError(f"the {self._shown} does not exist", hint="check the bucket's name and the endpoint")
        if gone := _GONE.get(code) or _GONE.get(str(status)):
            return NotFoundError(f"{what} {gone} in the {self._shown}")
        message = hint = ""
        if code in _OTHER_REGION or str(status) in _OTHER_REGION:
            other = f" {region[:40]}" if region and region != self._region else ""
            message = f"it is in another region{other}, not in {self._region}"
            hint = f"set the region to{other or ' that of the bucket'}"
        elif code in _REFUSED:
            message, hint = f"{_REFUSED[code]} ({code})", "check the files of the credentials"
        if message:
            return ConfigError([Fault(origin=self._shown, path="", message=message)], hint=hint)
        if status in (401, 403):
            return ForbiddenError(
                f"the {self._shown} refuses access to {what} ({code})",
                hint="check the access key or role, and whether its policy allows listing, reading or writing",
            )
        shown = f" ({code})" if code and code != str(status) else ""
        return StatusError(f"the {self._shown} answers with status {status}{shown}", status=status, detail=code)


def _forbid_other_regions(params: dict[str, Any], **_: object) -> None:
    """Keep boto3 from sending a request again to another region, whose host the URLs of datarefs wouldn't name."""
    params["context"].setdefault("s3_redirect", {})["redirected"] = True
