"""What an answer to the request for a dataref means, and whether it is the store's own.

While a link is down, something else may answer in the store's place: a router, a captive portal, a proxy. So the event
is at fault only by an answer that proves to be the store's own:

- by TLS, in which the host's certificate was verified, at the dataref and at each redirect;
- or by the header that every answer of the S3 API has;
- or, for an error, by the code in its body, as S3, MinIO, Google and Azure write it.

Such an answer becomes a ClaimError (422), and the event a dead letter. Any other answer becomes a DeliveryError (503):
the sender keeps the event and sends it again. So does an answer that a changed key or permission would turn into a
success, as a ClaimDeniedError (503), so that a wrong key loses no image.
"""

from __future__ import annotations

import http.client
import re
from dataclasses import dataclass

from eaves.errors import ClaimDeniedError, ClaimError, DeliveryError, EavesError

LATER = "send again later"
_RETRIED = frozenset({408, 409, 425, 429})
"""HTTP statuses 4xx after which fetching the same data may succeed on a later attempt."""
_DENIED = frozenset({401, 403})
_DENIED_IF_SIGNED = frozenset({301, 307, 400})
"""Statuses with which S3 refuses a signed request: a bucket in another region without a Location to follow, and a wrong
region or expired token. Source: Amazon S3, API Reference, Error responses."""
_STORE_HEADER = "x-amz-request-id"
"""Source: Amazon S3, API Reference, Common response headers; MinIO and Ceph send it too."""
_CODE = re.compile(rb"<Code>([A-Za-z0-9]{1,64})</Code>")
"""The code of an error in the body of S3's answer, such as `SignatureDoesNotMatch`."""
_SIGNATURES = frozenset({"x-amz-signature", "x-goog-signature", "signature", "sig"})
"""Names of query parameters with a signature, in lower case: those of S3, Google, CloudFront and Azure."""
_BODY_BYTES = 4096
_CHECK = "check the keys in dataref_credentials, dataref_region, the bucket's policy and the function's clock"


def is_presigned(query: str) -> bool:
    """Return whether the query of a URL carries a signature, which expires at some time."""
    return any(part.partition("=")[0].lower() in _SIGNATURES for part in query.split("&"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Trail:
    """What is known of the way from a dataref to the URL that answers.

    Attributes:
        verified: Whether each host up to this answer has proved its name by a certificate.
        misled: Whether a redirect that may not be the store's own led to this URL, so that even the store's answer is
            about something else.
    """

    verified: bool
    misled: bool


def is_from_store(response: http.client.HTTPResponse, trail: Trail) -> bool:
    """Return whether the headers of an answer, or a verified certificate, show that it is the store's own."""
    return not trail.misled and (trail.verified or _STORE_HEADER in response.headers)


def read_refusal(response: http.client.HTTPResponse, *, signed: bool, presigned: bool, trail: Trail) -> EavesError:
    """Return the error for an answer that isn't the data of a dataref.

    Args:
        response: The answer; the beginning of its body is read.
        signed: Whether the function signed the request.
        presigned: Whether the URL carries a signature of its own, which may have expired.
        trail: What is known of the way to the URL that answers.
    """
    status = response.status
    if status >= 500 or status in _RETRIED:
        return DeliveryError(f"the host of a dataref answered {status}", hint=LATER)
    code = _CODE.search(response.read(_BODY_BYTES))
    answered = f"the host of a dataref answered {status}" + (f" ({code[1].decode('ascii')})" if code else "")
    if (status in _DENIED and not presigned) or (status in _DENIED_IF_SIGNED and signed):
        hint = _CHECK if signed else "set dataref_credentials, or allow reading without a key"
        return ClaimDeniedError(answered, hint=hint)
    if (code and not trail.misled) or is_from_store(response, trail):
        return ClaimError(answered, hint="send the data itself")
    return DeliveryError(f"{answered}, and nothing shows that the answer is the store's own", hint=LATER)
