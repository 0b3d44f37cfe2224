"""Signs the function's requests for datarefs in private buckets, by the S3 API (AWS Signature Version 4).

The module needs only the standard library, because botocore has 28 MB and a function's container image has no other use
for it; an agent with a bucket uses boto3.

Presigned URLs can't replace this: they expire after seven days at most, and an event may wait for longer than that.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes, urlsplit

from eaves.credentials import AwsKeys, read_aws_keys, read_credentials
from eaves.errors import ClaimDeniedError, ConfigError
from eaves.http_client.proxies import PORTS
from functions.url_policy import is_presigned

_ALGORITHM = "AWS4-HMAC-SHA256"
_UNRESERVED = "-_.~"
DEFAULT_REGION = "us-east-1"
"""Region of hosts whose name has none, such as a MinIO server with its default settings."""
_REGION = re.compile(r"(?:^|\.)s3[.-](?:fips[.-])?(?:dualstack\.)?([a-z]{2}(?:-[a-z]+)+-\d)\.")
"""Pattern of the region in the name of an S3 host. Source: AWS General Reference, Amazon S3 endpoints and quotas; other
providers use the same form."""


class RequestSigner:
    """Signs GET requests with the keys in a folder, which are read at each request.

    Args:
        folder: Folder with the files `access_key`, `secret_key` and, for temporary keys, `session_token`; perhaps with
            `ca.crt`, certificate authorities to trust in addition to the system's.
        region: Region of the buckets; empty to find it in the host's name.
    """

    def __init__(self, folder: Path, *, region: str = "") -> None:
        self._folder = folder
        self._region = region

    def sign(self, url: str) -> Mapping[str, str]:
        """Return the headers that sign a GET request; none for a URL that carries its own signature.

        Raises:
            ClaimDeniedError: When the keys can't be read.
        """
        if is_presigned(urlsplit(url).query):
            return {}
        try:
            keys = read_aws_keys(self._folder)
        except ConfigError as error:  # for example a Secret that is being renewed
            raise ClaimDeniedError(f"the function's keys can't be used: {error.message}", hint=error.hint) from error
        if keys is None:
            raise ClaimDeniedError(
                f"the folder {self._folder} has no files access_key and secret_key",
                hint="put the files access_key and secret_key into the folder that dataref_credentials names",
            )
        region = self._region or find_region(urlsplit(url).hostname or "")
        return sign_get(url, keys=keys, region=region, at=datetime.now(UTC))

    def read_authorities(self) -> str:
        """Return the certificate authorities in the file `ca.crt`, as PEM; empty without such a file.

        Raises:
            ClaimDeniedError: When the file can't be read.
        """
        try:
            return read_credentials(self._folder).authorities_pem
        except ConfigError as error:
            raise ClaimDeniedError(f"the function's keys can't be used: {error.message}", hint=error.hint) from error


def find_region(host: str) -> str:
    """Return the region that the name of an S3 host contains; the default region when it contains none."""
    found = _REGION.search(host.lower())
    return found[1] if found else DEFAULT_REGION


def sign_get(url: str, *, keys: AwsKeys, region: str, at: datetime) -> dict[str, str]:
    """Return the headers that sign a GET request without further signed headers.

    They are `Authorization`, `x-amz-date`, `x-amz-content-sha256`, and with temporary keys `x-amz-security-token`.

    Args:
        url: URL exactly as it is sent, percent-encoded.
        keys: Keys that the request is signed with.
        region: Region of the store, such as `eu-central-1`.
        at: Time of the request, with its time zone. A store refuses a time that differs from its own by 15 minutes.

    Source: Amazon S3, API Reference, "Signature Calculations for the Authorization Header".
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
    return host if parts.port in (None, PORTS.get(parts.scheme)) else f"{host}:{parts.port}"


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
