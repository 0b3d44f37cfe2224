"""AWS Signature Version 4: Amazon's own examples, and botocore over random requests."""

import random
from datetime import UTC, datetime
from urllib.parse import quote

import pytest

from eaves.credentials import AwsKeys
from functions.request_signer import sign_get

S3_KEYS = AwsKeys(access_key="AKIAIOSFODNN7EXAMPLE", secret_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
S3_TIME = datetime(2013, 5, 24, tzinfo=UTC)


def test_botocore_signs_a_thousand_odd_requests_alike(monkeypatch: pytest.MonkeyPatch):
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


def test_secrets_are_not_in_the_text_of_keys():
    assert "wJal" not in repr(S3_KEYS)
