"""AWS Signature Version 4 of a GET request to S3 or an object store compatible with it.

A function signs its requests for private objects. The module needs only the standard library, because botocore has
28 MB and a function's container image has no other use for it; an agent with a bucket uses boto3.

Source: Amazon S3, API Reference, "Signature Calculations for the Authorization Header".
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote, unquote_to_bytes, urlsplit

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


def sign_get(url: str, *, keys: AwsKeys, region: str, at: datetime) -> dict[str, str]:
    """Return the headers that sign a GET request without further signed headers.

    They are `Authorization`, `x-amz-date`, `x-amz-content-sha256`, and with temporary keys `x-amz-security-token`.

    Args:
        url: URL exactly as it is sent, percent-encoded.
        keys: Keys that the request is signed with.
        region: Region of the store, such as `eu-central-1`.
        at: Time of the request, with its time zone. A store refuses a time that differs from its own by 15 minutes.
    """
    moment = at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(b"").hexdigest()
    added = {"x-amz-content-sha256": digest, "x-amz-date": moment}
    if keys.session_token:
        added["x-amz-security-token"] = keys.session_token
    signed = {"host": _build_host(url), **added}
    names = ";".join(signed)
    path = quote(unquote_to_bytes(urlsplit(url).path), safe="/" + _UNRESERVED) or "/"
    lines = [f"{name}:{value}" for name, value in signed.items()]
    request = "\n".join(("GET", path, _build_query(urlsplit(url).query), *lines, "", names, digest))
    scope = f"{moment[:8]}/{region}/s3/aws4_request"
    text = "\n".join((_ALGORITHM, moment, scope, hashlib.sha256(request.encode()).hexdigest()))
    key = f"AWS4{keys.secret_key}".encode()
    for part in scope.split("/"):
        key = _sign(key, part)
    credential = f"Credential={keys.access_key}/{scope}"
    authorization = f"{_ALGORITHM} {credential}, SignedHeaders={names}, Signature={_sign(key, text).hex()}"
    return {**added, "Authorization": authorization}


def _build_host(url: str) -> str:
    parts = urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return host if parts.port in (None, _PORTS.get(parts.scheme)) else f"{host}:{parts.port}"


def _build_query(query: str) -> str:
    """Return the canonical query: names and values encoded alike, in the order of their encoded names and values."""
    pairs = [part.partition("=") for part in query.split("&") if part]
    return "&".join(
        f"{name}={value}" for name, value in sorted((_encode(name), _encode(value)) for name, _, value in pairs)
    )


def _encode(text: str) -> str:
    return quote(unquote_to_bytes(text), safe=_UNRESERVED)


def _sign(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
