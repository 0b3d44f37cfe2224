"""AWS Signature Version 4 of one request, as S3, SQS and the object stores compatible with S3 check it.

A function signs its requests for private objects, and an agent its requests to a queue. The module needs only the
standard library, because botocore has 28 MB and a function's container image has no other use for it.

Source: AWS Identity and Access Management, User Guide, "Create a signed AWS API request"; Amazon S3, API Reference,
"Signature Calculations for the Authorization Header".
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote, unquote_to_bytes, urlsplit

S3 = "s3"
"""Name of the service S3, whose paths are encoded once and not normalised, and whose digests of bodies are sent."""
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
"""SHA-256 of an empty body, hex."""
_ALGORITHM = "AWS4-HMAC-SHA256"
_UNRESERVED = "-_.~"
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsKeys:
    """Keys that requests are signed with.

    Attributes:
        access_key: Name of the key, which is sent.
        secret_key: Secret key, which is never sent.
        session_token: Token of temporary keys, which is sent; empty for keys that don't expire.
    """

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)


def sign_request(
    method: str,
    url: str,
    *,
    keys: AwsKeys,
    region: str,
    service: str,
    at: datetime,
    headers: Mapping[str, str] | None = None,
    payload_sha256: str = EMPTY_SHA256,
) -> dict[str, str]:
    """Return the headers that sign a request, which are sent in addition to `headers`.

    They are `Authorization`, `x-amz-date`, for S3 `x-amz-content-sha256`, and with temporary keys
    `x-amz-security-token`.

    Args:
        method: HTTP method.
        url: URL exactly as it is sent, percent-encoded.
        keys: Keys that the request is signed with.
        region: Region of the service, such as `eu-central-1`.
        service: Name of the service: `s3`, `sqs`.
        at: Time of the request, with its time zone. The service refuses a time that differs from its own by 15 minutes.
        headers: Headers that the signature covers. `Host` is added, as HTTP clients send it.
        payload_sha256: SHA-256 of the body, hex.
    """
    moment = at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    added = {"x-amz-date": moment}
    if service == S3:
        added["x-amz-content-sha256"] = payload_sha256
    if keys.session_token:
        added["x-amz-security-token"] = keys.session_token
    signed = {"host": _build_host(url), **_normalise(headers or {}), **_normalise(added)}
    names = ";".join(sorted(signed))
    request = "\n".join(
        (
            method.upper(),
            _build_path(url, service),
            _build_query(urlsplit(url).query),
            *(f"{name}:{signed[name]}" for name in sorted(signed)),
            "",
            names,
            payload_sha256,
        )
    )
    scope = f"{moment[:8]}/{region}/{service}/aws4_request"
    text = "\n".join((_ALGORITHM, moment, scope, hashlib.sha256(request.encode()).hexdigest()))
    signature = _sign(_derive_key(keys.secret_key, scope), text).hex()
    added["Authorization"] = (
        f"{_ALGORITHM} Credential={keys.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return added


def _build_host(url: str) -> str:
    parts = urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return host if parts.port in (None, _PORTS.get(parts.scheme)) else f"{host}:{parts.port}"


def _normalise(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers with lower-case names, and values in which each run of spaces is one space."""
    return {name.lower(): " ".join(value.split()) for name, value in headers.items()}


def _build_path(url: str, service: str) -> str:
    """Return the canonical path: for S3 the path encoded once; else normalised, and encoded again as it is sent."""
    path = urlsplit(url).path
    if service == S3:
        return quote(unquote_to_bytes(path), safe="/" + _UNRESERVED) or "/"
    kept: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del kept[-1:]
        elif part not in ("", "."):
            kept.append(part)
    slash = "/" if kept and path.endswith("/") else ""
    return quote("/" + "/".join(kept) + slash, safe="/" + _UNRESERVED)


def _build_query(query: str) -> str:
    """Return the canonical query: names and values encoded alike, in the order of their encoded names and values."""
    pairs = [part.partition("=") for part in query.split("&") if part]
    return "&".join(
        f"{name}={value}" for name, value in sorted((_encode(name), _encode(value)) for name, _, value in pairs)
    )


def _encode(text: str) -> str:
    return quote(unquote_to_bytes(text), safe=_UNRESERVED)


def _derive_key(secret_key: str, scope: str) -> bytes:
    """Return the key that signs requests of one day to one service of a region."""
    key = f"AWS4{secret_key}".encode()
    for part in scope.split("/"):
        key = _sign(key, part)
    return key


def _sign(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
