"""What a store's refusal means."""

from __future__ import annotations

import pytest

from eaves.bucket import parse_location
from eaves.bucket.aws_client import Answer
from eaves.bucket.s3_errors import explain_refusal
from eaves.errors import ConfigError, EavesError, ForbiddenError, NotFoundError, StatusError

LOCATION = parse_location("s3://photos", endpoint="https://minio.example")
NOW = 1_795_734_969.0


def explained(status: int, code: str = "", *, more: str = "", **headers: str) -> EavesError:
    body = f"<Error><Code>{code}</Code><Message>secret text</Message>{more}</Error>".encode() if code else b""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = Answer(status=status, headers=named, body=body)
    error = explain_refusal(answer, LOCATION, what="the object a.jpg", now=NOW)
    assert "secret text" not in error.message
    return error


@pytest.mark.parametrize(
    ("status", "code", "kind", "text"),
    [
        (404, "NoSuchBucket", NotFoundError, "the bucket photos at minio.example does not exist"),
        (404, "NoSuchKey", NotFoundError, "the object a.jpg does not exist in the bucket photos at minio.example"),
        (404, "", NotFoundError, "the object a.jpg does not exist"),
        (412, "PreconditionFailed", NotFoundError, "the object a.jpg was replaced"),
        (403, "InvalidObjectState", NotFoundError, "the object a.jpg is in an archive"),
        (403, "InvalidAccessKeyId", ConfigError, "the store doesn't know the access key (InvalidAccessKeyId)"),
        (403, "SignatureDoesNotMatch", ConfigError, "the secret key is wrong"),
        (400, "ExpiredToken", ConfigError, "the session token has expired"),
        (403, "AccessDenied", ForbiddenError, "refuses access to the object a.jpg (AccessDenied)"),
        (403, "", ForbiddenError, "refuses access to the object a.jpg (403)"),
        (503, "SlowDown", StatusError, "answers with status 503 (SlowDown)"),
        (500, "<b>", StatusError, "answers with status 500"),
    ],
)
def test_a_refusal_has_a_plain_message(status: int, code: str, kind: type[EavesError], text: str) -> None:
    error = explained(status, code)
    assert type(error) is kind
    assert text in error.message


@pytest.mark.parametrize(
    ("date", "shown"),
    [
        ("Thu, 26 Nov 2026 23:56:09 GMT", "about 40 minutes"),
        ("Thu, 26 Nov 2026 16:16:09 GMT", "about 7 hours"),
        ("Thu, 26 Nov 2020 23:16:09 GMT", "about 2191 days"),
        ("whenever", "more than 15 minutes"),
    ],
)
def test_a_wrong_clock_is_named_with_its_difference(date: str, shown: str) -> None:
    error = explained(403, "RequestTimeTooSkewed", date=date)
    assert isinstance(error, ConfigError)
    assert f"this machine's clock differs from the store's by {shown}" in error.message


@pytest.mark.parametrize(("status", "code"), [(301, "PermanentRedirect"), (400, "AuthorizationHeaderMalformed")])
def test_another_region_is_named(status: int, code: str) -> None:
    error = explained(status, code, more="<Region>eu-west-1</Region>")
    assert "it is in another region eu-west-1, not in us-east-1" in error.message
    assert error.hint == "set the region to eu-west-1"
    assert "region eu-west-2," in explained(status, code, x_amz_bucket_region="eu-west-2").message
