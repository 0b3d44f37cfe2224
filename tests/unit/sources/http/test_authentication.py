"""Answers to what a server asks for before it lets in."""

import hashlib

import pytest

from eaves.http_client.headers import parse_challenges
from eaves.sources.http.login import Authentication, answer_digest

RFC_7616 = (
    'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={}, '
    'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
)


def parameters(header: str) -> dict[str, str]:
    ((_, values),) = parse_challenges([header])
    return values


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_digest_answers_as_rfc_7616_section_3_9_1_does(algorithm: str, response: str):
    header = answer_digest(
        parameters(RFC_7616.format(algorithm)),
        username="Mufasa",
        password="Circle of Life",
        method="GET",
        uri="/dir/index.html",
        count=1,
        client_nonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
    )
    sent = parameters(header)
    assert sent["response"] == response
    assert (sent["nc"], sent["qop"], sent["algorithm"], sent["uri"]) == (
        "00000001",
        "auth",
        algorithm,
        "/dir/index.html",
    )
    assert sent["opaque"] == "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"


def test_digest_without_qop_answers_as_rfc_2069_does():
    header = answer_digest(
        parameters('Digest realm="a", nonce="b"'),
        username="u",
        password="p",
        method="GET",
        uri="/",
        count=1,
        client_nonce="never sent",
    )
    first, second = hashlib.md5(b"u:a:p").hexdigest(), hashlib.md5(b"GET:/").hexdigest()
    assert parameters(header)["response"] == hashlib.md5(f"{first}:b:{second}".encode()).hexdigest()
    assert "cnonce" not in header
    assert "qop" not in header


@pytest.mark.parametrize(
    "header",
    [
        'Digest realm="a", nonce="b", qop=auth, algorithm=MD5-sess',
        'Digest realm="a", nonce="b", qop="auth-int"',
        'Digest realm="a"',
    ],
)
def test_a_digest_that_is_not_known_is_not_answered(header: str):
    assert not Authentication("u", "p").challenge([header])


def test_challenges_are_read_from_one_header_and_from_several():
    headers = ['Negotiate, Basic realm="a \\"b\\", c" , Digest nonce=n,realm="r", qop="auth"', "NewScheme x=1"]
    assert parse_challenges(headers) == [
        ("basic", {"realm": 'a "b", c'}),
        ("digest", {"nonce": "n", "realm": "r", "qop": "auth"}),
    ]
