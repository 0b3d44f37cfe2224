"""Names of container images, read as everybody reads them."""

from __future__ import annotations

import pytest

from eaves.errors import OciError
from eaves.oci.descriptor import parse_reference

DIGEST = f"sha256:{'a' * 64}"


@pytest.mark.parametrize(
    ("text", "full", "api_host", "name"),
    [
        ("python:3.13-slim", "docker.io/library/python:3.13-slim", "registry-1.docker.io", "3.13-slim"),
        ("index.docker.io/library/python", "docker.io/library/python", "registry-1.docker.io", "latest"),
        ("127.0.0.1:5000/site/x:a", "127.0.0.1:5000/site/x:a", "127.0.0.1:5000", "a"),
        ("[::1]:5000/x:a", "[::1]:5000/x:a", "[::1]:5000", "a"),
        (f"reg.example/x:a@{DIGEST}", f"reg.example/x:a@{DIGEST}", "reg.example", DIGEST),
        ("reg.example/a__b/c-d/e.f", "reg.example/a__b/c-d/e.f", "reg.example", "latest"),
    ],
)
def test_names(text: str, full: str, api_host: str, name: str) -> None:
    reference = parse_reference(text)
    assert (str(reference), reference.api_host, reference.name) == (full, api_host, name)
    assert parse_reference(str(reference)) == reference


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "repository"),
        ("reg.example/X", "lower-case"),
        ("reg.example/x\n", "repository"),
        ("reg.example/x:" + "a" * 129, "tag"),
        ("reg.example/x@sha256:abc", "digest"),
        ("https://reg.example/x", "host"),
    ],
)
def test_what_is_no_name(text: str, words: str) -> None:
    with pytest.raises(OciError, match=words):
        parse_reference(text)
