"""Keys that sign container images: ECDSA on the curve P-256, in cosign's file formats.

Only this module imports `cryptography` and `nacl`.

Source: sigstore/sigstore, pkg/cryptoutils; secure-systems-lab/go-securesystemslib, encrypted (scrypt + NaCl secretbox).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from eaves.errors import OciError

Password = Callable[[], bytes]
"""Function that returns the password of a private key; it is called only when the key file is encrypted."""
MAX_KEY_BYTES = 64 * 1024
_ENCRYPTED = re.compile(
    rb"-----BEGIN ENCRYPTED (SIGSTORE|COSIGN) PRIVATE KEY-----\s(.+?)\s-----END ENCRYPTED \1 PRIVATE KEY-----",
    re.DOTALL,
)
_SCRYPT_N, _SCRYPT_R, _SCRYPT_P = 65536, 8, 1
_MAX_SCRYPT_BYTES = 2**30
"""Maximum memory that the scrypt parameters in a key file may require, bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """An ECDSA key that verifies signatures.

    Attributes:
        point: Key object of `cryptography`.
    """

    point: ec.EllipticCurvePublicKey

    @property
    def id(self) -> str:
        """Digest of the key's DER form, `sha256:` and 64 hex digits, which identifies the key."""
        return f"sha256:{hashlib.sha256(self._encoded(serialization.Encoding.DER)).hexdigest()}"

    @property
    def pem(self) -> bytes:
        """The key in PEM form, the content of a .pub file."""
        return self._encoded(serialization.Encoding.PEM)

    def matches(self, payload: bytes, signature: bytes) -> bool:
        """Return whether a signature (DER) of a payload was made by the private key of this public key."""
        try:
            self.point.verify(signature, payload, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True

    def _encoded(self, encoding: serialization.Encoding) -> bytes:
        return self.point.public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateKey:
    """An ECDSA key that makes signatures.

    Attributes:
        secret: Key object of `cryptography`.
    """

    secret: ec.EllipticCurvePrivateKey

    @property
    def public(self) -> PublicKey:
        """The public key that belongs to this private key."""
        return PublicKey(point=self.secret.public_key())

    def sign(self, payload: bytes) -> bytes:
        """Return the signature of a payload in DER form."""
        return self.secret.sign(payload, ec.ECDSA(hashes.SHA256()))

    def __repr__(self) -> str:
        """Return a text for logs, without the key."""
        return f"PrivateKey({self.public.id})"


def load_public_key(path: Path) -> PublicKey:
    """Read a public key from a PEM file.

    Raises:
        OciError: When the file has no public key, or one that isn't ECDSA on P-256.
    """
    content = _read(path)
    if b"PRIVATE KEY" in content:
        raise OciError(
            f"{path} is a private key",
            hint=("give the public key, for example cosign.pub; signatures are verified with it"),
        )
    try:
        key = serialization.load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise OciError(
            f"{path} is not a public key in PEM form: {error}"[:300], hint="give the .pub file of the key pair"
        ) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise _other_kind(path)
    return PublicKey(point=key)


def load_private_key(path: Path, password: Password) -> PrivateKey:
    """Read a private key from a file in cosign's encrypted form or in any other PEM form.

    Raises:
        OciError: When the file has no private key, when the key isn't ECDSA on P-256, or when the password is wrong.
    """
    content = _read(path)
    if b"BEGIN PUBLIC KEY" in content:
        raise OciError(
            f"{path} is a public key",
            hint=("give the private key, for example cosign.key; container images are signed with it"),
        )
    try:
        if found := _ENCRYPTED.search(content):
            plain = _decrypted(path, found[2], password())
            key: Any = serialization.load_der_private_key(plain, None)
        else:
            secret = password() if b"ENCRYPTED" in content else None
            key = serialization.load_pem_private_key(content, secret or None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise OciError(
            f"{path} is not a readable private key: {error}"[:300], hint="check the file and the password"
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise _other_kind(path)
    return PrivateKey(secret=key)


def create_key_pair(prefix: Path, password: bytes) -> PublicKey:
    """Write a new key pair: PREFIX.key in cosign's encrypted form, readable by its owner only, and PREFIX.pub.

    Raises:
        OciError: When either file exists or can't be written.
    """
    key = PrivateKey(secret=ec.generate_private_key(ec.SECP256R1()))
    secret, public = (prefix.with_name(f"{prefix.name}.{end}") for end in ("key", "pub"))
    try:
        for path in (secret, public):
            if path.exists():
                raise OciError(
                    f"{path} already exists",
                    hint=(
                        "choose another prefix; if this key pair were replaced, its signatures "
                        "could no longer be verified"
                    ),
                )
        _write_new(secret, _encrypted(key, password), 0o600)
        _write_new(public, key.public.pem, 0o644)
    except OSError as error:
        raise OciError(f"{prefix} can't be written: {error.strerror}", hint="choose another prefix") from error
    return key.public


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_KEY_BYTES + 1)
    except OSError as error:
        raise OciError(
            f"the key {path} can't be read: {error.strerror}",
            hint=("make a key pair with `eaves sign --new-key PREFIX`"),
        ) from error
    if len(content) > MAX_KEY_BYTES:
        raise OciError(f"{path} is too large to be a key")
    return content


def _decrypted(path: Path, text: bytes, password: bytes) -> bytes:
    """Decrypt the content of a key file in cosign's form; return the key in PKCS #8 form.

    Raises:
        OciError: When the password is wrong.
        ValueError: When the content is malformed or was encrypted with another algorithm.
    """
    try:
        values = json.loads(base64.b64decode(text))
        if (values["kdf"]["name"], values["cipher"]["name"]) != ("scrypt", "nacl/secretbox"):
            raise ValueError("its encryption is not the one that cosign uses")
        n, r, p = (values["kdf"]["params"][name] for name in ("N", "r", "p"))
        salt, nonce, secret = (
            base64.b64decode(one, validate=True)
            for one in (values["kdf"]["salt"], values["cipher"]["nonce"], values["ciphertext"])
        )
        if not all(type(one) is int and one > 0 for one in (n, r, p)) or 128 * r * (n + p) > _MAX_SCRYPT_BYTES:
            raise ValueError("its scrypt parameters are outside the allowed range")
        if len(nonce) != SecretBox.NONCE_SIZE:
            raise ValueError("its nonce has the wrong size")
        box = SecretBox(_derived(password, salt, n, r, p))
    except (KeyError, TypeError, AttributeError, binascii.Error, RecursionError) as error:
        raise ValueError(f"it is malformed: {error!r}") from error
    try:
        return box.decrypt(secret, nonce)
    except CryptoError as error:
        raise OciError(
            f"the password for {path} is wrong", hint=("set COSIGN_PASSWORD, or type the password when asked")
        ) from error


def _encrypted(key: PrivateKey, password: bytes) -> bytes:
    plain = key.secret.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    salt, nonce = os.urandom(32), os.urandom(SecretBox.NONCE_SIZE)
    box = SecretBox(_derived(password, salt, _SCRYPT_N, _SCRYPT_R, _SCRYPT_P))
    text = {name: base64.b64encode(one).decode() for name, one in (("salt", salt), ("nonce", nonce))}
    values = {
        "kdf": {
            "name": "scrypt",
            "params": {"N": _SCRYPT_N, "r": _SCRYPT_R, "p": _SCRYPT_P},
            "salt": text["salt"],
        },
        "cipher": {"name": "nacl/secretbox", "nonce": text["nonce"]},
        "ciphertext": base64.b64encode(box.encrypt(plain, nonce).ciphertext).decode(),
    }
    body = base64.b64encode(json.dumps(values).encode())
    lines = [body[at : at + 64] for at in range(0, len(body), 64)]
    title = b"ENCRYPTED SIGSTORE PRIVATE KEY"
    return b"\n".join([b"-----BEGIN " + title + b"-----", *lines, b"-----END " + title + b"-----", b""])


def _derived(password: bytes, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(
        password, salt=salt, n=n, r=r, p=p, maxmem=_MAX_SCRYPT_BYTES + 2**20, dklen=SecretBox.KEY_SIZE
    )


def _write_new(path: Path, content: bytes, mode: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as stream:
        stream.write(content)


def _other_kind(path: Path) -> OciError:
    return OciError(f"{path} is not an ECDSA P-256 key", hint="make a key pair with `eaves sign --new-key PREFIX`")
