"""What a registry asks for before it lets in: Basic, or a token for what is to be done.

Source: distribution, docs/spec/auth/token.md and auth/oauth.md; RFC 9110, section 11.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit
from urllib.request import parse_http_list, parse_keqv_list

from eaves.errors import AccessError, RegistryError
from eaves.oci.credentials import Credentials

if TYPE_CHECKING:
    import urllib3

MAX_ANSWER_BYTES = 1 << 20


class Login:
    """Keeps the answers to a registry's challenges, by scope; safe to use from many threads.

    Args:
        http: Connections.
        credentials: Who we are; None: nobody.
        plain: Whether secrets may go over plain HTTP, which whoever allowed plain HTTP has allowed.
    """

    def __init__(self, http: urllib3.PoolManager, credentials: Credentials | None, *, plain: bool) -> None:
        self._http = http
        self._credentials = credentials
        self._plain = plain
        self._lock = threading.Lock()
        self._headers: dict[str, str] = {}

    def header(self, scope: str) -> Mapping[str, str]:
        """What to send along, as far as it is known."""
        with self._lock:
            found = self._headers.get(scope)
        return {"Authorization": found} if found else {}

    def answer(self, challenge: str, scope: str) -> bool:
        """Answer a challenge for a scope; False when there is nothing new to say.

        Raises:
            AccessError: When we aren't let in.
            RegistryError: When the challenge can't be answered.
        """
        kind, _, rest = challenge.strip().partition(" ")
        if kind.lower() == "basic":
            made = self._basic()
        elif kind.lower() == "bearer":
            made = f"Bearer {self._token(parse_keqv_list(parse_http_list(rest)), scope)}"
        else:
            raise RegistryError(f"the registry asks for {kind[:40]!r}, which is not known here")
        with self._lock:
            new = self._headers.get(scope) != made
            self._headers[scope] = made
        return new

    def _basic(self) -> str:
        if self._credentials is None or not self._credentials.user:
            raise AccessError("the registry asks for a name and a password", hint="log in with your container tool")
        pair = f"{self._credentials.user}:{self._credentials.password}"
        return f"Basic {base64.b64encode(pair.encode()).decode()}"

    def _token(self, asked: Mapping[str, str], scope: str) -> str:
        realm = asked.get("realm", "")
        scheme = urlsplit(realm).scheme
        if scheme != "https" and not (scheme == "http" and self._plain):
            raise RegistryError(f"the registry sends for a token to {realm[:80]!r}, which is not https")
        service = asked.get("service", "")
        answer = self._fetch(realm, service, scope)
        if answer.status in (400, 401, 403):
            raise AccessError(
                f"no token for {scope} ({answer.status})", hint="log in with your container tool, or ask for the right"
            )
        if answer.status != 200:
            raise RegistryError(f"the registry's token service answered {answer.status}", hint="try again later")
        try:
            values = json.loads(answer.data)
            token = values.get("token") or values["access_token"]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RegistryError("the registry's token service answered without a token") from error
        return str(token)

    def _fetch(self, realm: str, service: str, scope: str) -> urllib3.BaseHTTPResponse:
        known = self._credentials
        if known is not None and known.refresh_token:
            fields = {
                "grant_type": "refresh_token",
                "service": service,
                "scope": scope,
                "refresh_token": known.refresh_token,
                "client_id": "eaves",
            }
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            return self._http.request("POST", realm, body=urlencode(fields), headers=headers)
        query = urlencode([("service", service), *(("scope", one) for one in scope.split(" "))])
        headers = {"Authorization": self._basic()} if known is not None else {}
        mark = "&" if "?" in realm else "?"
        return self._http.request("GET", f"{realm}{mark}{query}", headers=headers, redirect=False)
