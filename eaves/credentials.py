"""Credentials of a process, in a folder with one file each, as Kubernetes mounts a Secret.

The same folder works on a laptop and in a pod. Files are read at each connection, so that a changed password or a
renewed certificate is used without a restart.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from eaves.errors import ConfigError

USERNAME, PASSWORD = "username", "password"
"""File names of user name and password. Source: Kubernetes, Secrets of type kubernetes.io/basic-auth."""
TOKEN = "token"  # noqa: S105 - the name of a file
"""File name of a bearer token, as Kubernetes names the token of a ServiceAccount."""
CERTIFICATE, KEY, AUTHORITIES = "tls.crt", "tls.key", "ca.crt"
"""File names of certificate, private key and authorities. Source: Kubernetes, Secrets of type kubernetes.io/tls;
cert-manager
writes `ca.crt` beside them.
"""
ACCESS_KEY, SECRET_KEY, SESSION_TOKEN = "access_key", "secret_key", "session_token"
"""File names of the keys of an object store."""
MAX_BYTES = 1 << 20
"""Maximum size of a file in bytes, which is the maximum size of a Secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Credentials that were found in a folder.

    Attributes:
        username: User name; empty when there is none.
        password: Password of the user; empty when there is none.
        token: Bearer token (RFC 6750); empty when there is none.
        certificate: Path of the client's certificate, as PEM; None when there is none.
        key: Path of the certificate's private key, as PEM; None when there is none.
        authorities_pem: Certificate authorities to trust in addition to the system's, as PEM; empty when there are
            none.
    """

    username: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    certificate: Path | None = None
    key: Path | None = None
    authorities_pem: str = field(default="", repr=False)


def check_private(path: Path, *, setting: str) -> None:
    """Check that only the owner of a secret of `eaves up` may read it.

    Args:
        path: Path of the file.
        setting: Name of the setting that leads to the file.

    Raises:
        ConfigError: When it isn't a regular file, or users other than its owner may read or change it.
        OSError: When the file can't be examined.
    """
    mode = path.stat().st_mode
    if stat.S_ISREG(mode) and not mode & (stat.S_IRWXG | stat.S_IRWXO):
        return
    found, hint = "is not a regular file", f"ls -ld {path}"
    if stat.S_ISREG(mode):
        found = f"can be read or changed by other users (mode {stat.S_IMODE(mode):04o}, must be 0600)"
        hint = f"chmod 600 {path}"
    raise ConfigError.single("eaves up", setting, f"{path} {found}", hint=hint)


def read_credentials(folder: Path | None) -> Credentials:
    """Read a folder that has any of `username`, `password`, `token`, `tls.crt` with `tls.key`, and `ca.crt`.

    A line break at the end of a file is ignored, because editors add one.

    Args:
        folder: Path of the folder; None gives empty credentials.

    Raises:
        ConfigError: When the folder doesn't exist, a file can't be read, or a certificate lacks its key. The message
            names files and never their content.
    """
    if folder is None:
        return Credentials()
    _check_folder(folder)
    certificate, key = folder / CERTIFICATE, folder / KEY
    if certificate.exists() != key.exists():
        raise build_fault(folder, f"must hold both {CERTIFICATE} and {KEY}, or neither", "add the file that is missing")
    return Credentials(
        username=_read(folder / USERNAME),
        password=_read(folder / PASSWORD),
        token=_read(folder / TOKEN).strip(),
        certificate=certificate if certificate.exists() else None,
        key=key if key.exists() else None,
        authorities_pem=_read(folder / AUTHORITIES),
    )


def find_versions(folder: Path | None) -> Mapping[str, int]:
    """Return the modification time of each file of a folder with credentials; empty when it can't be read."""
    try:
        return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} if folder else {}
    except OSError:
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsKeys:
    """Keys that requests are signed with.

    Attributes:
        access_key: Name of the key, which is sent.
        secret_key: Secret key, which is never sent.
        session_token: Token of temporary keys, which is sent; empty for keys that don't expire.
    """

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)


def read_aws_keys(folder: Path) -> AwsKeys | None:
    """Read the files `access_key`, `secret_key` and, for temporary keys, `session_token` of a folder.

    Returns:
        The keys; None when the folder has neither `access_key` nor `secret_key`.

    Raises:
        ConfigError: When the folder doesn't exist, a file can't be read, one of the two keys is missing, or a key isn't
            printable ASCII. The message names files and never their content.
    """
    _check_folder(folder)
    access_key, secret_key, token = (_read(folder / name).strip() for name in (ACCESS_KEY, SECRET_KEY, SESSION_TOKEN))
    if bool(access_key) != bool(secret_key):
        raise build_fault(folder, f"must hold both {ACCESS_KEY} and {SECRET_KEY}", "add the file that is missing")
    for name, value in ((ACCESS_KEY, access_key), (SECRET_KEY, secret_key), (SESSION_TOKEN, token)):
        if not (value.isascii() and value.isprintable()) or " " in value:
            raise build_fault(folder / name, "must be printable ASCII characters without spaces", "")
    return AwsKeys(access_key=access_key, secret_key=secret_key, session_token=token) if access_key else None


def read_authorization(path: Path | None) -> dict[str, str]:
    """Return the header Authorization with the bearer token in a file.

    Args:
        path: Path of the file; None gives no header.

    Raises:
        ConfigError: When the file can't be read, or holds no token.
    """
    if path is None:
        return {}
    token = _read(path).strip()
    if not (token and token.isascii() and token.isprintable()):
        raise build_fault(path, "holds no token, which is one line of letters and digits", f"ls -l {path}")
    return {"Authorization": f"Bearer {token}"}


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        hint = f"create the folder with `mkdir -p {folder}`, and put the credential files in it"
        raise build_fault(folder, "is not a folder", hint)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise build_fault(path, f"has more than {MAX_BYTES} bytes", "")
        return data.decode().removesuffix("\n").removesuffix("\r")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError:
        raise build_fault(path, "is not UTF-8", "") from None  # the cause contains what was read
    except OSError as error:
        raise build_fault(path, f"can't be read: {error.strerror}", f"ls -l {path}") from error


def build_fault(path: Path | None, message: str, hint: str) -> ConfigError:
    """Build the error about a folder of credentials, or a file in it."""
    return ConfigError.single("credentials", str(path), message, hint=hint)


def fill_in(address: str, credentials: Credentials) -> str:
    """Return the address with `{username}` and `{password}` replaced by the credentials, percent-encoded.

    Some cameras require them in the path or the query, and eaves.yaml should contain no credentials. They aren't
    replaced in the host, which would be looked up by name.
    """

    def fill(text: str) -> str:
        for name, value in (("username", credentials.username), ("password", credentials.password)):
            text = text.replace(f"{{{name}}}", quote(value, safe=""))
        return text

    parts = urlsplit(address)
    user, at, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{fill(user)}{at}{host}", path=fill(parts.path), query=fill(parts.query)))
