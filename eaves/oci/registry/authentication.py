"""Authentication at a registry: by Basic, or by a token for a scope (the actions on a repository that it allows).

Source: distribution, docs/spec/auth/token.md and auth/oauth.md; RFC 9110, section 11.
"""

from __future__ import annotations

import base64
import functools
import json
import re
import threading
from collections.abc import Callable, Mapping
from urllib.parse import urlencode
from urllib.request import parse_http_list

from eaves.errors import AccessError, RegistryError
from eaves.http_client.pools import HttpClient
from eaves.oci.registry.credentials import RegistryCredentials
from eaves.oci.registry.response import RegistryResponse, read_response

_ANY = ""
"""Key for Basic credentials in the mapping of scopes to headers, because they are valid for every scope."""
_TOKEN = re.compile(r"[!-~]+")


class RegistryLogin:
    """Logs in at a registry, and keeps the resulting Authorization header of each scope. Thread-safe.

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
        self._lock = threading.Lock()
        self._headers: dict[str, str] = {}

    def header(self, scope: str) -> Mapping[str, str]:
        """Return the Authorization header for a scope, or no header when none is known."""
        with self._lock:
            found = self._headers.get(scope) or self._headers.get(_ANY)
        return {"Authorization": found} if found else {}

    def authenticate(self, challenge: str, scope: str) -> None:
        """Log in as a challenge demands; afterwards `header` returns the Authorization header for the scope.

        Raises:
            AccessError: When the registry refuses access.
            RegistryError: When the challenge can't be answered.
            urllib3.exceptions.HTTPError: When the token service can't be reached.
        """
        kind, _, rest = challenge.strip().partition(" ")
        if kind.lower() == "basic":
            scope, made = _ANY, self._basic()
        elif kind.lower() == "bearer":
            made = f"Bearer {self._token(_parameters(rest), scope)}"
        else:
            raise AccessError(f"the registry asks for the authentication scheme {kind[:40]!r}, which is not supported")
        with self._lock:
            self._headers[scope] = made

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
        service = asked.get("service", "")
        answer = self._fetch(realm, service, scope)
        if answer.status in (400, 401, 403):
            raise AccessError(
                f"the registry grants no token for {scope} ({answer.status})",
                hint=("log in with your container tool, or ask the registry's owner for access"),
            )
        if answer.status != 200:
            raise RegistryError(f"the token service of the registry answered {answer.status}", hint="try again later")
        try:
            values = json.loads(answer.content)
            token = str(values.get("token") or values["access_token"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise RegistryError("the token service of the registry answered without a token") from error
        if not _TOKEN.fullmatch(token):
            raise RegistryError("the token service of the registry answered with an invalid token")
        return token

    def _fetch(self, realm: str, service: str, scope: str) -> RegistryResponse:
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
            return self._request("POST", realm, headers, urlencode(fields))
        query = urlencode([("service", service), *(("scope", one) for one in scope.split(" "))])
        headers = {"Authorization": self._basic()} if known is not None else {}
        mark = "&" if "?" in realm else "?"
        return self._request("GET", f"{realm}{mark}{query}", headers)

    def _request(self, method: str, url: str, headers: Mapping[str, str], body: str | None = None) -> RegistryResponse:
        # HttpClient follows no redirects, so a secret is sent only to the address that the registry names.
        return read_response(self._http.request(method, url, body=body, headers=headers))


def _parameters(text: str) -> dict[str, str]:
    """Return the parameters of the first challenge in a header, with names in lower case.

    It replaces `urllib.request.parse_keqv_list`, which raises IndexError for a parameter without a value.
    """
    pairs = (one.partition("=") for one in parse_http_list(text) if "=" in one)
    return {name.strip().lower(): _unquoted(value.strip()) for name, _, value in pairs}


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value
