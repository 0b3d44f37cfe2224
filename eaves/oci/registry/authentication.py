"""Authentication at a registry: by Basic, or by a token for a scope (the actions on a repository that it allows).

Source: distribution, docs/spec/auth/token.md and auth/oauth.md; RFC 9110, section 11.
"""

from __future__ import annotations

import base64
import binascii
import functools
import json
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from eaves.errors import AccessError, OciError, RegistryError
from eaves.http_client.client import HttpAnswer, HttpClient
from eaves.http_client.headers import parse_challenges
from eaves.oci.descriptor import DEFAULT_HOST

_ANY = ""
"""Key for Basic credentials in the mapping of scopes to headers, because they are valid for every scope."""
_TOKEN = re.compile(r"[!-~]+")


class PassingError(RegistryError):
    """Error of a request that may succeed later; every other RegistryError of a request lasts.

    Args:
        message: Message of the error.
        hint: Hint of the error, or None.
        reason: Reason in a few words, for a message while a download waits.
        is_away: Whether the registry or the link is out of reach, so that the registry itself has refused nothing.
        wait_s: Time that the registry asks to wait, in seconds; 0 when it doesn't say.
    """

    def __init__(
        self, message: str, *, hint: str | None = None, reason: str = "", is_away: bool = False, wait_s: float = 0.0
    ) -> None:
        super().__init__(message, hint=hint)
        self.reason, self.is_away, self.wait_s = reason, is_away, wait_s


class RegistryLogin:
    """Logs in at a registry, and keeps the resulting Authorization header of each scope.

    Args:
        http: HTTP client.
        credentials: Function that returns the credentials, or None for anonymous access. It is called once, and only
            when a registry asks for credentials.
        plain: Whether secrets may be sent over plain HTTP; `--plain-http` allows it.
    """

    def __init__(self, http: HttpClient, credentials: Callable[[], RegistryCredentials | None], *, plain: bool) -> None:
        self._http = http
        self._credentials = functools.cache(credentials)
        self._plain = plain
        self._headers: dict[str, str] = {}
        self._token_service: Mapping[str, str] | None = None

    def header(self, scope: str) -> Mapping[str, str]:
        """Return the Authorization header for a scope, or no header when none is known."""
        found = self._headers.get(scope) or self._headers.get(_ANY)
        return {"Authorization": found} if found else {}

    def authenticate(self, challenge: str, scope: str) -> None:
        """Log in as a challenge demands; afterwards `header` returns the Authorization header for the scope.

        A registry may offer several schemes, in any order; a token is preferred, since it needs no password to read
        what is public.

        Raises:
            AccessError: When the registry refuses access.
            RegistryError: When the challenge can't be answered.
            DeliveryError: When the token service can't be reached.
        """
        known = dict(reversed(parse_challenges([challenge])))  # of several by one scheme, the first counts
        # Harbor asks by Basic when a token isn't valid any more (src/server/middleware/v2auth/auth.go).
        self._token_service = known.get("bearer", self._token_service)
        if self._token_service is not None:
            self._headers[scope] = f"Bearer {self._token(self._token_service, scope)}"
        elif "basic" in known:
            self._headers[_ANY] = self._basic()
        else:
            kind = challenge.split(" ", maxsplit=1)[0][:40]
            raise AccessError(f"the registry asks for the authentication scheme {kind!r}, which is not supported")

    def _basic(self) -> str:
        known = self._credentials()
        if known is None or not known.user:
            raise AccessError(
                "the registry requires a user name and a password",
                hint=("log in with your container tool, for example `docker login`"),
            )
        pair = f"{known.user}:{known.password}"
        return f"Basic {base64.b64encode(pair.encode()).decode()}"

    def _token(self, asked: Mapping[str, str], scope: str) -> str:
        realm = asked.get("realm", "")
        if not realm.startswith("https://") and not (realm.startswith("http://") and self._plain):
            raise AccessError(f"the registry names the token service {realm[:80]!r}, which is not https")
        answer = self._fetch(realm, asked.get("service", ""), scope)
        if answer.status in (400, 401, 403):
            raise AccessError(
                f"the registry grants no token for {scope} ({answer.status})",
                hint=("log in with your container tool, or ask the registry's owner for access"),
            )
        if answer.status != 200:
            raise PassingError(f"the token service of the registry answered {answer.status}", hint="try again later")
        try:
            values = json.loads(answer.body)
            token = str(values.get("token") or values["access_token"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise RegistryError("the token service of the registry answered without a token") from error
        if not _TOKEN.fullmatch(token):
            raise RegistryError("the token service of the registry answered with an invalid token")
        return token

    def _fetch(self, realm: str, service: str, scope: str) -> HttpAnswer:
        # HttpClient follows no redirects, so a secret is sent only to the address that the registry names.
        known = self._credentials()
        if known is not None and known.refresh_token:
            fields = {
                "grant_type": "refresh_token",
                "service": service,
                "scope": scope,
                "refresh_token": known.refresh_token,
                "client_id": "eaves",
            }
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            body = urlencode(fields).encode()
            return self._http.request("POST", realm, body=body, headers=headers, timeout_s=TIMEOUT_S)
        query = urlencode([("service", service), *(("scope", one) for one in scope.split(" "))])
        headers = {"Authorization": self._basic()} if known is not None else {}
        mark = "&" if "?" in realm else "?"
        return self._http.request("GET", f"{realm}{mark}{query}", headers=headers, timeout_s=TIMEOUT_S)


TIMEOUT_S = 30.0
_OLD_KEY = "https://index.docker.io/v1/"
"""Key of the credentials for Docker's own registry in Docker's configuration; it is a URL for historical reasons."""
_TOKEN_USER = "<token>"  # noqa: S105 - user name in a credential helper's response with a token


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryCredentials:
    """A user name and a password for a registry, or a token in place of both."""

    user: str = ""
    password: str = field(default="", repr=False)
    refresh_token: str = field(default="", repr=False)


def load_credentials(host: str, repository: str, *configs: Path) -> RegistryCredentials | None:
    """Return the credentials for a repository; None when no configuration has any.

    Args:
        host: Host of the registry.
        repository: Repository; podman's logins may be for a part of a registry.
        configs: Paths of configurations with logins by Docker or podman; the first that has one counts.

    Raises:
        OciError: When a file can't be read, or a helper fails.
    """
    return next(filter(None, (_find_credentials(host, repository, config) for config in configs)), None)


def _find_credentials(host: str, repository: str, config: Path) -> RegistryCredentials | None:
    """Return the credentials in one configuration, those for the longest part of the repository's name first.

    Source: containers-auth.json(5).
    """
    values, parts = _load(config), repository.split("/")
    keys = [host, f"https://{host}", f"http://{host}", f"https://{host}/v1/", f"https://{host}/v2/"]
    if host == DEFAULT_HOST:
        keys.insert(0, _OLD_KEY)
    helpers = _mapping(values, "credHelpers")
    for key in keys:
        helper = helpers.get(key) or values.get("credsStore")
        if isinstance(helper, str) and (found := _run_helper(helper, key)):
            return found
    auths = _mapping(values, "auths")
    for key in [*("/".join([host, *parts[:count]]) for count in range(len(parts), 0, -1)), *keys]:
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


def _run_helper(helper: str, key: str) -> RegistryCredentials | None:
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
