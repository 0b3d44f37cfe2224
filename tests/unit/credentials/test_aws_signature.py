"""AWS Signature Version 4: AWS's own vectors, and botocore over random requests."""

from __future__ import annotations

import hashlib
import random
from datetime import UTC, datetime
from functools import partial
from urllib.parse import quote

import pytest

from eaves.credentials.aws_signature import S3, AwsKeys, sign_request

SUITE_KEYS = AwsKeys(access_key="AKIDEXAMPLE", secret_key="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
SUITE_TIME = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
TOKEN = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267"
S3_KEYS = AwsKeys(access_key="AKIAIOSFODNN7EXAMPLE", secret_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
S3_TIME = datetime(2013, 5, 24, tzinfo=UTC)


@pytest.mark.parametrize(
    ("target", "headers", "signature"),
    [
        ("/", {}, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("", {}, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        (
            "/?Param-3=Value3&Param=Value2&%E1%88%B4=Value1",
            {},
            "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac",
        ),
        ("/\u1234", {}, "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
        ("/?\u1234=bar", {}, "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04"),
        (
            "/",
            {"My-Header1": " value1", "My-Header2": ' "a   b   c"'},
            "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
        ),
        (
            "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
            {},
            "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
        ),
        ("/example space/", {}, "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741"),
        ("//example//", {}, "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84"),
        ("/example1/example2/../..", {}, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    ],
)
def test_the_vectors_of_aws(target: str, headers: dict[str, str], signature: str) -> None:
    """Source: awslabs/aws-c-auth, tests/aws-signing-test-suite/v4 (Apache-2.0)."""
    signed = sign_request(
        "GET",
        f"https://example.amazonaws.com{target}",
        keys=SUITE_KEYS,
        region="us-east-1",
        service="service",
        at=SUITE_TIME,
        headers=headers,
    )
    assert signed["x-amz-date"] == "20150830T123600Z"
    names = ";".join(sorted(["host", "x-amz-date", *map(str.lower, headers)]))
    assert signed["Authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        f"SignedHeaders={names}, Signature={signature}"
    )


def test_the_vectors_of_aws_with_a_session_token_and_with_a_body() -> None:
    url, sign = "https://example.amazonaws.com/", partial(sign_request, region="us-east-1", service="service")
    temporary = AwsKeys(access_key=SUITE_KEYS.access_key, secret_key=SUITE_KEYS.secret_key, session_token=TOKEN)
    signed = sign("GET", url, keys=temporary, at=SUITE_TIME)
    assert signed["x-amz-security-token"] == TOKEN
    assert signed["Authorization"].endswith("07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8")
    digest = hashlib.sha256(b"Param1=value1").hexdigest()
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Content-Length": "13",
        "x-amz-content-sha256": digest,
    }
    signed = sign("POST", url, keys=SUITE_KEYS, at=SUITE_TIME, headers=headers, payload_sha256=digest)
    assert signed["Authorization"].endswith("d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b")


@pytest.mark.parametrize(
    ("method", "target", "headers", "body", "signature"),
    [
        (
            "GET",
            "/test.txt",
            {"Range": "bytes=0-9"},
            b"",
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "PUT",
            "/test$file.text",
            {"Date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"},
            b"Welcome to Amazon S3.",
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        ("GET", "/?lifecycle", {}, b"", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        ("GET", "/?max-keys=2&prefix=J", {}, b"", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ],
)
def test_the_examples_of_s3(method: str, target: str, headers: dict[str, str], body: bytes, signature: str) -> None:
    """Source: Amazon S3, API Reference, Signature Calculations for the Authorization Header, Examples."""
    digest = hashlib.sha256(body).hexdigest()
    signed = sign_request(
        method,
        f"https://examplebucket.s3.amazonaws.com{target}",
        keys=S3_KEYS,
        region="us-east-1",
        service=S3,
        at=S3_TIME,
        headers=headers,
        payload_sha256=digest,
    )
    assert signed["Authorization"].endswith(f"Signature={signature}")
    assert signed["x-amz-content-sha256"] == digest


def test_botocore_signs_a_thousand_odd_requests_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    auth = pytest.importorskip("botocore.auth", reason="botocore is not installed")
    build_request = pytest.importorskip("botocore.awsrequest").AWSRequest
    build_keys = pytest.importorskip("botocore.credentials").Credentials
    chance = random.Random(22)
    odd = "ab/ +%&=?#;:@!$'()*,~._-[]\u00e4\u4e2d\U0001f600\"<>\\^`{|}"
    monkeypatch.setattr(auth, "get_current_datetime", lambda: SUITE_TIME)
    for number in range(1000):
        key = "".join(chance.choices(odd, k=chance.randint(1, 40)))
        path = "/photos/" + quote(key, safe="/~")
        query = {f"{quote(name, safe='~')}": quote(key[:5], safe="~") for name in key[: number % 4] if name != "/"}
        port = chance.choice(["", ":9000", ":443"])
        url = f"https://store.example{port}{path}"
        if query:
            url += "?" + "&".join(f"{name}={value}" for name, value in query.items())
        service, token = chance.choice([S3, "sqs"]), chance.choice(["", "t/+="])
        keys = AwsKeys(access_key="AK", secret_key=f"s{key}", session_token=token)
        request = build_request(method="GET", url=url, headers={"X-Odd": f"a  {number} "})
        signer = auth.S3SigV4Auth if service == S3 else auth.SigV4Auth
        signer(build_keys(keys.access_key, keys.secret_key, token or None), service, "eu-central-1").add_auth(request)
        ours = sign_request(
            "get",
            url,
            keys=keys,
            region="eu-central-1",
            service=service,
            at=SUITE_TIME,
            headers={"X-Odd": f"a  {number} "},
        )
        assert ours["Authorization"] == request.headers["Authorization"], url


def test_secrets_are_not_in_the_text_of_keys() -> None:
    assert "wJal" not in repr(SUITE_KEYS)
