"""Credentials for a registry, from Docker's configuration and its credential helpers.

Source: docker/cli, cli/config/configfile; docker-credential-helpers' protocol.
"""

from __future__ import annotations

import base64
import binascii
import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eaves.errors import OciError
from eaves.oci.reference import DEFAULT_HOST

TIMEOUT_S = 30.0
_OLD_KEY = "https://index.docker.io/v1/"
"""Key of the credentials for Docker's own registry in Docker's configuration; it is a URL for historical reasons."""
_TOKEN_USER = "<token>"  # noqa: S105 - user name in a credential helper's response with a token


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryCredentials:
    """A user name and a password for a registry, or a token in place of both."""

    user: str = ""
    password: str = ""
    refresh_token: str = ""

    def __repr__(self) -> str:
        """Return a text for logs, without password and token."""
        return f"RegistryCredentials(user={self.user!r})"


def load_credentials(host: str, config: Path) -> RegistryCredentials | None:
    """Return the credentials for a registry from Docker's configuration; None when it has none for the host.

    Args:
        host: Host of the registry.
        config: Path of the configuration, usually `~/.docker/config.json`.

    Raises:
        OciError: When the file can't be read, or a helper fails.
    """
    values = _load(config)
    keys = [host, f"https://{host}", f"http://{host}", f"https://{host}/v1/", f"https://{host}/v2/"]
    if host == DEFAULT_HOST:
        keys.insert(0, _OLD_KEY)
    helpers = _mapping(values, "credHelpers")
    for key in keys:
        helper = helpers.get(key) or values.get("credsStore")
        if isinstance(helper, str) and (found := _ask(helper, key)):
            return found
    auths = _mapping(values, "auths")
    for key in keys:
        if isinstance(auths.get(key), dict) and (found := _parse(auths[key], config)):
            return found
    return None


def _load(config: Path) -> Mapping[str, Any]:
    try:
        values = json.loads(config.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise OciError(
            f"{config} can't be read: {error}", hint="correct the file, or log in again with your container tool"
        ) from error
    return values if isinstance(values, dict) else {}


def _mapping(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = values.get(name)
    return found if isinstance(found, dict) else {}


def _parse(entry: Mapping[str, Any], config: Path) -> RegistryCredentials | None:
    if entry.get("identitytoken"):
        return RegistryCredentials(refresh_token=str(entry["identitytoken"]))
    if entry.get("auth"):
        try:
            user, _, password = base64.b64decode(str(entry["auth"]), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise OciError(
                f"{config}: the value of `auth` is not base64", hint="log in again with your container tool"
            ) from error
        return RegistryCredentials(user=user, password=password.rstrip("\0"))
    if entry.get("username"):
        return RegistryCredentials(user=str(entry["username"]), password=str(entry.get("password", "")))
    return None


def _ask(helper: str, key: str) -> RegistryCredentials | None:
    """Ask one of Docker's credential helpers for credentials; return None when it has none."""
    command = f"docker-credential-{helper}"
    if "/" in helper:
        raise OciError(f"{command!r} is not a valid name of a credential helper")
    try:
        done = subprocess.run(
            [command, "get"], input=key, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise OciError(
            f"the credential helper {command} can't be run: {error}",
            hint=("install the credential helper, or log in again with your container tool"),
        ) from error
    if done.returncode:
        if "not found" in (done.stdout + done.stderr).lower():
            return None
        raise OciError(f"the credential helper {command} failed: {(done.stdout + done.stderr).strip()[:200]}")
    try:
        answer = json.loads(done.stdout)
        user, secret = str(answer["Username"]), str(answer["Secret"])
    except (ValueError, KeyError, TypeError) as error:
        raise OciError(f"the answer of the credential helper {command} is not JSON with Username and Secret") from error
    return (
        RegistryCredentials(refresh_token=secret)
        if user == _TOKEN_USER
        else RegistryCredentials(user=user, password=secret)
    )
