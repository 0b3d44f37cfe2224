"""Keys in files: cosign's own form, any PEM, and all that is no key for this."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from eaves.errors import OciError
from eaves.oci.sign.keys import create_key_pair, load_private_key, load_public_key

TITLE = "ENCRYPTED SIGSTORE PRIVATE KEY"
# Made by Debian's cosign 2.5, with the password `pw`.
BY_COSIGN = """\
-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----
eyJrZGYiOnsibmFtZSI6InNjcnlwdCIsInBhcmFtcyI6eyJOIjo2NTUzNiwiciI6
OCwicCI6MX0sInNhbHQiOiJXSU5QMXdBZG96RDdaWWtGMHhpemtuMjJ4NjVZSEtm
MXlkanR6bWpxajFRPSJ9LCJjaXBoZXIiOnsibmFtZSI6Im5hY2wvc2VjcmV0Ym94
Iiwibm9uY2UiOiI3azVnRmhQaXNhRC9OMVFRWm9wTTVnL24vdExRMVpQLyJ9LCJj
aXBoZXJ0ZXh0IjoiQm1tLzg1ZnlMOGRhQkZGOWxQa280NTZwa0JpMVpYUEJFa1Fp
T1IyalljRW43ZkdhNnU0cXV2L21CMWtCalJQNnp0R1o0WmhBV0JGcFdlT1FRSUZm
UExwOHVmNTZnR3JQaWc0dHEycVB4amV4LzNua0hENG9iUUY0bEN6OGFDMjZaTG9L
VVVxUzhYdDRqNEJKbjNHdVdMSnp2QXNDOWdFbFFkR1o2eXVHQlBwYnJRNzU1M2p3
OXBqVTgvRHcxRGxDWXY5Ym1DR1Y1Wlk2V3c9PSJ9
-----END ENCRYPTED SIGSTORE PRIVATE KEY-----
"""
ITS_PUBLIC = """\
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEcw1ZtQ5nc/fwk0pTRAyT7TW/yBKz
k8qP0EsfIJUWs5Yoe73A1Y1OQKf7e26cay3OAZrP5xw6O2ZZiAw8+S3Yiw==
-----END PUBLIC KEY-----
"""


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "some.key"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def never() -> bytes:
    raise AssertionError("this key has no password")


def pem(key: Any, password: bytes = b"") -> bytes:
    how = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    content: bytes = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)
    return content


def test_cosigns_key_file_is_read(tmp_path: Path) -> None:
    key = load_private_key(write(tmp_path, BY_COSIGN), lambda: b"pw")
    assert key.public.pem.decode() == ITS_PUBLIC
    assert key.public.matches(b"payload", key.sign(b"payload"))
    older = BY_COSIGN.replace("SIGSTORE", "COSIGN")
    assert load_private_key(write(tmp_path, older), lambda: b"pw").public == key.public


@pytest.mark.parametrize("password", [b"", "pässword".encode()])
def test_a_pair_that_we_make_is_read_again(tmp_path: Path, password: bytes) -> None:
    public = create_key_pair(tmp_path / "k", password)
    private = load_private_key(tmp_path / "k.key", lambda: password)
    assert private.public.id == public.id == load_public_key(tmp_path / "k.pub").id
    assert (tmp_path / "k.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "k.key").read_text().startswith(f"-----BEGIN {TITLE}-----\n")
    signature = private.sign(b"payload")
    assert public.matches(b"payload", signature)
    assert not public.matches(b"payloaD", signature)
    assert not public.matches(b"payload", b"")
    assert "secret" not in repr(private)
    with pytest.raises(OciError, match="password"):
        load_private_key(tmp_path / "k.key", lambda: b"another")


def test_any_pem_of_the_right_kind_is_read(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    plain = load_private_key(write(tmp_path, pem(key)), never)
    assert load_private_key(write(tmp_path, pem(key, b"pw")), lambda: b"pw").public == plain.public
    old = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    assert load_private_key(write(tmp_path, old), never).public == plain.public
    with pytest.raises(OciError, match="is not a readable private key"):
        load_private_key(write(tmp_path, pem(key, b"pw")), lambda: b"wrong")


@pytest.mark.parametrize("kind", ["p384", "rsa", "ed25519"])
def test_keys_of_other_kinds(tmp_path: Path, kind: str) -> None:
    key: Any = {
        "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "rsa": lambda: rsa.generate_private_key(65537, 2048),
        "ed25519": ed25519.Ed25519PrivateKey.generate,
    }[kind]()
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    for load, content in ((lambda path: load_private_key(path, never), pem(key)), (load_public_key, public)):
        with pytest.raises(OciError, match="not an ECDSA P-256 key") as caught:
            load(write(tmp_path, content))
        assert "--new-key" in str(caught.value.hint)


@pytest.mark.parametrize(
    "content", [b"", b"nothing", b"\0" * 100, b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"]
)
def test_what_is_no_public_key(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(OciError, match="not a public key"):
        load_public_key(write(tmp_path, content))


def test_one_half_in_place_of_the_other(tmp_path: Path) -> None:
    create_key_pair(tmp_path / "k", b"")
    with pytest.raises(OciError, match="is a private key"):
        load_public_key(tmp_path / "k.key")
    with pytest.raises(OciError, match="is a public key"):
        load_private_key(tmp_path / "k.pub", never)


def test_files_that_are_not_there_or_too_large(tmp_path: Path) -> None:
    for load in (load_public_key, lambda path: load_private_key(path, never)):
        with pytest.raises(OciError, match="can't be read"):
            load(tmp_path / "none")
        with pytest.raises(OciError, match="too large"):
            load(write(tmp_path, b"x" * 100_000))


def sealed(**changes: Any) -> str:
    """A key file like cosign's with something else in it."""
    values: dict[str, Any] = {
        "kdf": {"name": "scrypt", "params": {"N": 16, "r": 1, "p": 1}, "salt": "AAAA"},
        "cipher": {"name": "nacl/secretbox", "nonce": base64.b64encode(bytes(24)).decode()},
        "ciphertext": base64.b64encode(bytes(100)).decode(),
    }
    body = base64.b64encode(json.dumps(values | changes).encode()).decode()
    return f"-----BEGIN {TITLE}-----\n{body}\n-----END {TITLE}-----\n"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "password"),
        ({"kdf": 1}, "malformed"),
        ({"ciphertext": "%"}, "malformed"),
        ({"ciphertext": None}, "malformed"),
        ({"kdf": {"name": "argon2"}}, "not the one that cosign uses"),
        ({"kdf": {"name": "scrypt", "params": {"N": 2**30, "r": 8, "p": 1}, "salt": ""}}, "outside the allowed range"),
        (
            {"kdf": {"name": "scrypt", "params": {"N": 1024, "r": 2**20, "p": 1}, "salt": ""}},
            "outside the allowed range",
        ),
        (
            {"kdf": {"name": "scrypt", "params": {"N": 1024, "r": 8, "p": 2**40}, "salt": ""}},
            "outside the allowed range",
        ),
        ({"kdf": {"name": "scrypt", "params": {"N": 1000, "r": 8, "p": 1}, "salt": ""}}, "not a readable private key"),
        ({"kdf": {"name": "scrypt", "params": {"N": "16", "r": 8, "p": 1}, "salt": ""}}, "outside the allowed range"),
        ({"cipher": {"name": "nacl/secretbox", "nonce": "AAAA"}}, "nonce"),
    ],
)
def test_a_hostile_key_file(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(OciError, match=words):
        load_private_key(write(tmp_path, sealed(**changes)), lambda: b"pw")


def test_no_pair_takes_the_place_of_another(tmp_path: Path) -> None:
    (tmp_path / "k.pub").write_text("mine")
    with pytest.raises(OciError, match="already exists"):
        create_key_pair(tmp_path / "k", b"")
    assert not (tmp_path / "k.key").exists()
    with pytest.raises(OciError, match="can't be written"):
        create_key_pair(tmp_path / "none" / "k", b"")
