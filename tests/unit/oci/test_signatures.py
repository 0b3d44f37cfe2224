"""What was signed, read from what cosign writes, and answers read within bounds."""

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from eaves.errors import OciError, SignatureError
from eaves.oci.signatures import load_public_key, parse_payload, parse_statement


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[" * 100_000,
        b'{"critical": {"identity": {"docker-reference": "x"}, "image": {"docker-manifest-digest": "y"}, "type": "z"}}',
        b'{"critical": {"identity": {}, "image": {}, "type": "cosign container image signature"}}',
        b'{"critical": {"identity": null, "image": [], "type": null}, "optional": []}',
    ],
)
def test_what_a_key_signed_that_is_no_container_image(payload: bytes):
    for parse in (parse_payload, parse_statement):
        with pytest.raises(SignatureError):
            parse(payload)


def write(folder: Path, content: bytes) -> Path:
    path = folder / "some.pub"
    path.write_bytes(content)
    return path


def public_pem(key: Any) -> bytes:
    content: bytes = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return content


def test_a_public_key_verifies(tmp_path: Path):
    private = ec.generate_private_key(ec.SECP256R1())
    key = load_public_key(write(tmp_path, public_pem(private)))
    assert key.matches(b"payload", private.sign(b"payload", ec.ECDSA(hashes.SHA256())))
    assert not key.matches(b"payload.", private.sign(b"payload", ec.ECDSA(hashes.SHA256())))
    assert not key.matches(b"payload", b"")
    assert key.id.startswith("sha256:")


@pytest.mark.parametrize("kind", ["p384", "rsa", "ed25519"])
def test_keys_of_other_kinds(tmp_path: Path, kind: str):
    key: Any = {
        "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "rsa": lambda: rsa.generate_private_key(65537, 2048),
        "ed25519": ed25519.Ed25519PrivateKey.generate,
    }[kind]()
    with pytest.raises(OciError, match="not an ECDSA P-256 key") as caught:
        load_public_key(write(tmp_path, public_pem(key)))
    assert "cosign generate-key-pair" in str(caught.value.hint)


PRIVATE = b"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n"
