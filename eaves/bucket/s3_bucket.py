"""A bucket of a store with the S3 API: requests by boto3, and what an error means. The one import of boto3.

boto3 limits the wait for the next bytes only, and its requests can't be ended from another thread. Therefore each
request runs in a thread of its own, and its caller stops waiting when the time is over or `abort` is called.
"""

from __future__ import annotations

import base64
import contextlib
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, InvalidStateError
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from eaves.bucket.bucket import StoredObject
from eaves.bucket.location import BucketLocation
from eaves.credentials import AUTHORITIES, AwsKeys, build_fault, read_aws_keys, read_credentials
from eaves.errors import (
    ConfigError,
    EavesError,
    ForbiddenError,
    ImageTooLargeError,
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
    raise ConfigError.single(
        "packages",
        "boto3",
        "is not installed; sources with a bucket need it",
        hint="python -m pip install '.[s3]'   # in a checkout; on a cluster: target agent-s3",
    ) from missing

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 20.0
"""Time limit for each wait for the next bytes of an answer, seconds. It is longer than `WAIT_S` of a queue."""
TOTAL_TIMEOUT_S = 60.0
"""Time limit for one request with its answer, seconds. 20 MB at 3 Mbit/s take 53 s."""
MAX_ABANDONED = 2
"""Maximum number of requests that nobody waits for any more and that boto3 hasn't ended. It limits each wait, and not
the whole of an answer that comes byte by byte. Each of them takes a thread, a connection and perhaps an image."""
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


PAGE_KEYS = 1_000
"""Number of keys in one page, which is the maximum. Source: Amazon S3 API Reference, ListObjectsV2, MaxKeys."""
_SHOWN = 256
"""Maximum number of characters of a key in a message."""
T = TypeVar("T")


class S3Bucket:
    """Implements `eaves.bucket.bucket.Bucket`; no request is sent before it is used.

    With keys in the folder `credentials`, requests are signed with them. Otherwise boto3 finds credentials itself:
    environment variables, a profile or SSO session, a web identity (IRSA), the role of the container or the machine.
    Without any, requests are not signed, as public buckets accept them.

    Args:
        location: Location of the bucket.
        credentials: Folder with those of the files `access_key`, `secret_key`, `session_token` and `ca.crt` that are
            needed; they are read at each request. None for boto3's own credentials.
        proxies: Proxies of the process.
        timeout_s: Time limit for one request with its answer, seconds.
        page_keys: Maximum number of keys in a page of a listing.
    """

    def __init__(
        self,
        location: BucketLocation,
        *,
        credentials: Path | None = None,
        proxies: Proxies = DIRECT,
        timeout_s: float = TOTAL_TIMEOUT_S,
        page_keys: int = PAGE_KEYS,
    ) -> None:
        self.location = location
        self._credentials, self._proxies = credentials, proxies
        self._timeout_s, self._page_keys = timeout_s, page_keys
        self._lock, self._building = threading.Lock(), threading.Lock()
        self._client: Any = None
        self._built_for: tuple[AwsKeys | None, str] | None = None
        self._waiting: set[Future[Any]] = set()
        self._running: set[Future[Any]] = set()
        self._aborted = False

    def list(self, prefix: str, *, after: str = "") -> Iterator[StoredObject]:
        """Yield the objects whose keys begin with `prefix` and follow `after`, in the store's order."""
        asked = {"Bucket": self.location.name, "Prefix": prefix, "PaginationConfig": {"PageSize": self._page_keys}}
        if after:
            asked["StartAfter"] = after
        pages = self._request(lambda s3: iter(s3.get_paginator("list_objects_v2").paginate(**asked)))
        truncated = True
        while truncated:
            page: dict[str, Any] | None = self._request(lambda _: next(pages, None))
            if page is None:  # taken for the end of the listing, it would make all further objects count as deleted
                raise StatusError(f"the {self.location.shown} names no next page of its listing", status=502)
            yield from map(_read_object, page.get("Contents", ()))
            truncated = page.get("IsTruncated", False)

    def get(self, found: StoredObject, max_bytes: int) -> bytes:
        """Return the content of this version of an object."""

        def read(s3: Any) -> bytes:
            with s3.get_object(**self._name(found))["Body"] as body:
                return bytes(body.read(max_bytes + 1))

        data = b"" if found.size_bytes > max_bytes else self._request(read, found.key)
        if max(len(data), found.size_bytes) > max_bytes:
            raise ImageTooLargeError(f"the object {found.key[:_SHOWN]} has more than {max_bytes} bytes")
        if len(data) != found.size_bytes:
            raise UnreachableError(f"the {self.location.shown} did not send the object {found.key[:_SHOWN]} completely")
        return data

    def put(self, key: str, data: bytes, *, content_type: str) -> str:
        """Store an object durably and return its URL, as it stands in `dataref`."""
        if not key or {".", ".."} & set(key.split("/")):  # HTTP clients resolve such parts of a path
            raise NotFoundError(f"the object {key[:_SHOWN]!r} has a key that no URL can name")
        asked = {"Bucket": self.location.name, "Key": key, "Body": data, "ContentType": content_type}
        self._request(lambda s3: s3.put_object(**asked), key)
        return self.location.url(key)

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

    def _name(self, found: StoredObject) -> dict[str, str]:
        """Return the arguments that name one version of an object."""
        condition = {"IfMatch": f'"{found.etag}"'} if found.etag else {}
        return {"Bucket": self.location.name, "Key": found.key, **condition}

    def _request(self, send: Callable[[Any], T], key: str = "") -> T:
        """Return what `send` returns, which gets boto3's client, sends one request and reads its answer.

        It runs in a thread of its own. `key` is that of the object, for messages; empty for the listing.
        """
        what = f"the object {key[:_SHOWN]}" if key else "the listing"
        future: Future[T] = Future()
        with self._lock:
            if self._aborted:
                raise UnreachableError("the request was not sent, because its sender stops")
            if len(self._running - self._waiting) >= MAX_ABANDONED:
                raise UnreachableError(f"the {self.location.shown} doesn't finish its answers to earlier requests")
            self._waiting.add(future)
            self._running.add(future)
        threading.Thread(target=self._send, args=(future, send), name="s3", daemon=True).start()
        try:
            return future.result(self._timeout_s)
        except TimeoutError as error:
            raise UnreachableError(f"the {self.location.shown} did not answer within {self._timeout_s:g} s") from error
        except aws.ClientError as error:
            raise self._explain_refusal(error.response, what) from error
        except (aws.BotoCoreError, ResponseParserError, ValueError) as error:
            raise self._explain(error) from error
        finally:
            with self._lock:
                self._waiting.discard(future)

    def _send(self, future: Future[T], send: Callable[[Any], T]) -> None:
        with contextlib.suppress(InvalidStateError):  # nobody waits for it any more
            try:
                future.set_result(send(self._connect()))
            except Exception as error:  # noqa: BLE001 - it is raised where somebody waits
                future.set_exception(error)
            finally:
                with self._lock:
                    self._running.discard(future)

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
        session = boto3.session.Session(*given, region_name=self.location.region)
        config = Config(
            connect_timeout=min(CONNECT_TIMEOUT_S, self._timeout_s),
            read_timeout=min(READ_TIMEOUT_S, self._timeout_s),
            retries={"mode": "standard", "total_max_attempts": MAX_ATTEMPTS},
            proxies=self._find_proxies(),
            ignore_configured_endpoint_urls=True,
            s3={
                "addressing_style": "path" if self.location.endpoint else "auto",
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
            endpoint_url=self.location.endpoint or None,
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
            address = self.location.endpoint or f"https://s3.{self.location.region}.amazonaws.com"
            if address.startswith(f"{scheme}:") and (proxy := self._proxies.find(address)):
                user, _, password = base64.b64decode(proxy.authorization.partition(" ")[2]).decode().partition(":")
                login = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user else ""
                found[scheme] = proxy.url.replace("://", f"://{login}")
        return found

    def _explain(self, error: Exception) -> EavesError:
        """Return the error for a request without a usable answer; the same fault gives the same text each time."""
        shown = self.location.shown
        if isinstance(error, aws.EndpointConnectionError | aws.SSLError | aws.ProxyConnectionError):
            found = explain(error.kwargs["error"])
            if isinstance(error, aws.ProxyConnectionError):
                found = explain(ProxyError(f"the proxy can't be reached: {found.reason}"))
            return UnreachableError(f"no connection to the {shown}: {found.reason[:256]}", hint=found.hint)
        if isinstance(error, aws.ReadTimeoutError | aws.ConnectTimeoutError):
            return UnreachableError(f"the {shown} did not send anything for {READ_TIMEOUT_S:g} s")
        if isinstance(error, aws.HTTPClientError | aws.ResponseStreamingError | aws.IncompleteReadError):
            return UnreachableError(f"the {shown} closed the connection before its answer was complete")
        if isinstance(error, aws.PaginationError | ResponseParserError | ValueError):
            return StatusError(f"the answer of the {shown} can't be used: {str(error)[:160]}", status=502)
        message = f"boto3 can't use its credentials or settings ({type(error).__name__}): {str(error)[:160]}"
        return ConfigError.single(shown, "", message, hint="check the credentials")

    def _explain_refusal(self, response: Mapping[str, Any], what: str) -> EavesError:
        """Return the error for an answer that isn't a success; the same refusal gives the same text each time."""
        shown = self.location.shown
        metadata, error = response.get("ResponseMetadata", {}), response.get("Error", {})
        status, code = int(metadata.get("HTTPStatusCode", 502)), str(error.get("Code", ""))[:64]
        region = metadata.get("HTTPHeaders", {}).get("x-amz-bucket-region") or error.get("Region", "")
        if code == "NoSuchBucket":
            return NotFoundError(f"the {shown} does not exist", hint="check the bucket's name and the endpoint")
        if gone := _GONE.get(code) or _GONE.get(str(status)):
            return NotFoundError(f"{what} {gone} in the {shown}")
        message = hint = ""
        if code in _OTHER_REGION or str(status) in _OTHER_REGION:
            other = f" {region[:40]}" if region and region != self.location.region else ""
            message = f"it is in another region{other}, not in {self.location.region}"
            hint = f"set the region to{other or ' that of the bucket'}"
        elif code in _REFUSED:
            message, hint = f"{_REFUSED[code]} ({code})", "check the files of the credentials"
        if message:
            return ConfigError.single(shown, "", message, hint=hint)
        if status in (401, 403):
            return ForbiddenError(
                f"the {shown} refuses access to {what} ({code})",
                hint="check the access key or role, and whether its policy allows listing, reading or writing",
            )
        named = f" ({code})" if code and code != str(status) else ""
        return StatusError(f"the {shown} answers with status {status}{named}", status=status, detail=code)


def _read_object(entry: Mapping[str, Any]) -> StoredObject:
    """Return an object of a listing, with its time exactly as the store gives it, in milliseconds at most."""
    return StoredObject(
        key=entry["Key"],
        etag=entry.get("ETag", "").strip('"'),
        size_bytes=entry["Size"],
        modified_at_ns=round(entry["LastModified"].timestamp() * 1_000) * 1_000_000,
    )


def _forbid_other_regions(params: dict[str, Any], **_: object) -> None:
    """Keep boto3 from sending a request again to another region, whose host the URLs of datarefs wouldn't name."""
    params["context"].setdefault("s3_redirect", {})["redirected"] = True
