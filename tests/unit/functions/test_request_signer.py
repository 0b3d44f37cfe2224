"""AWS Signature Version 4: Amazon's own examples, and botocore over random requests."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from urllib.parse import quote

import pytest

from eaves.credentials import AwsKeys
from functions.request_signer import sign_get

S3_KEYS = AwsKeys(access_key="AKIAIOSFODNN7EXAMPLE", secret_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
S3_TIME = datetime(2013, 5, 24, tzinfo=UTC)


@pytest.mark.parametrize(
    ("target", "signature"),
    [
        ("/?lifecycle", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        ("/?max-keys=2&prefix=J", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ],
)
def test_the_examples_of_s3(target: str, signature: str) -> None:
    """Source: Amazon S3, API Reference, Signature Calculations for the Authorization Header, Examples."""
    signed = sign_get(f"https://examplebucket.s3.amazonaws.com{target}", keys=S3_KEYS, region="us-east-1", at=S3_TIME)
    assert signed["Authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
        f"SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={signature}"
    )


def test_botocore_signs_a_thousand_odd_requests_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    auth = pytest.importorskip("botocore.auth", reason="botocore is not installed")
    build_request = pytest.importorskip("botocore.awsrequest").AWSRequest
    build_keys = pytest.importorskip("botocore.credentials").Credentials
    chance = random.Random(22)
    odd = "ab/ +%&=?#;:@!$'()*,~._-[]\u00e4\u4e2d\U0001f600\"<>\\^`{|}"
    monkeypatch.setattr(auth, "get_current_datetime", lambda: S3_TIME)
    for number in range(1000):
        key = "".join(chance.choices(odd, k=chance.randint(1, 40)))
        path = "/photos/" + quote(key, safe="/~")
        query = {f"{quote(name, safe='~')}": quote(key[:5], safe="~") for name in key[: number % 4] if name != "/"}
        port = chance.choice(["", ":9000", ":443"])
        url = f"https://store.example{port}{path}"
        if query:
            url += "?" + "&".join(f"{name}={value}" for name, value in query.items())
        token = chance.choice(["", "t/+="])
        keys = AwsKeys(access_key="AK", secret_key=f"s{key}", session_token=token)
        request = build_request(method="GET", url=url)
        signer = auth.S3SigV4Auth(build_keys("AK", keys.secret_key, token or None), "s3", "eu-central-1")
        signer.add_auth(request)
        ours = sign_get(url, keys=keys, region="eu-central-1", at=S3_TIME)
        assert ours["Authorization"] == request.headers["Authorization"], url


def test_secrets_are_not_in_the_text_of_keys() -> None:
    assert "wJal" not in repr(S3_KEYS)
