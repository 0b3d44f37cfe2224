"""Login at a server by Basic or Digest, with credentials from files.

Digest is implemented here because the standard library's `AbstractDigestAuthHandler` supports MD5 only and is bound to
urllib.request, and libraries that support more need another HTTP client. Source: RFC 9110, section 11; RFC 7616;
RFC 2069 without `qop`.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Iterable, Mapping

from eaves.http_client.headers import parse_challenges

_ALGORITHMS = {"MD5": "md5", "SHA-256": "sha256"}


class Authentication:
    """Answers the challenges of one server.

    No credentials are sent before the server asks for them. Digest is preferred to Basic, which shows the password to
    anyone who can read the traffic on http://.

    Args:
        username: User to log in; empty for none.
        password: Password of the user.

    Attributes:
        username: The user.
    """

    def __init__(self, username: str, password: str) -> None:
        self.username = username
        self._password = password
        self._challenge: tuple[str, Mapping[str, str]] | None = None
        self._count = 0

    def challenge(self, headers: Iterable[str]) -> bool:
        """Store the challenges of an answer with status 401; return whether one of them can be answered.

        Args:
            headers: Values of the answer's WWW-Authenticate headers.
        """
        known = [one for one in parse_challenges(headers) if one[0] != "bearer"]
        offered = [one for one in known if one[0] == "basic" or _is_supported(one[1])]
        self._challenge = max(offered, key=lambda one: one[0], default=None)
        self._count = 0
        return self._challenge is not None and bool(self.username)

    def headers(self, method: str, uri: str) -> dict[str, str]:
        """Return the headers that authenticate a request; empty before the first challenge.

        Args:
            method: HTTP method of the request.
            uri: Path and query of the request, as they are sent.
        """
        if self._challenge is None or not self.username:
            return {}
        scheme, values = self._challenge
        if scheme == "basic":
            pair = f"{self.username}:{self._password}".encode()
            return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
        self._count += 1
        client_nonce = secrets.token_urlsafe(16)
        answer = answer_digest(values, self.username, self._password, method, uri, self._count, client_nonce)
        return {"Authorization": answer}


def answer_digest(
    values: Mapping[str, str], username: str, password: str, method: str, uri: str, count: int, client_nonce: str
) -> str:
    """Return the value of the Authorization header that answers a Digest challenge.

    Args:
        values: Parameters of a challenge with a supported algorithm and quality.
        username: User to log in.
        password: Password of the user.
        method: HTTP method of the request.
        uri: Path and query of the request, as they are sent.
        count: Number of requests with this nonce of the server, from 1.
        client_nonce: Random text.
    """
    name = _ALGORITHMS[values.get("algorithm", "MD5").upper()]

    def digest(*parts: str) -> str:
        # usedforsecurity: where MD5 is disabled for security, the camera still requires it.
        return hashlib.new(name, ":".join(parts).encode(), usedforsecurity=False).hexdigest()

    realm, nonce = values["realm"], values["nonce"]
    secret, asked = digest(username, realm, password), digest(method, uri)
    fields = {"username": _quote(username), "realm": _quote(realm), "nonce": _quote(nonce), "uri": _quote(uri)}
    if "qop" in values:
        response = digest(secret, nonce, f"{count:08x}", client_nonce, "auth", asked)
        fields |= {"qop": "auth", "nc": f"{count:08x}", "cnonce": _quote(client_nonce)}
    else:
        response = digest(secret, nonce, asked)
    fields["response"] = _quote(response)
    if "algorithm" in values:
        fields["algorithm"] = values["algorithm"]
    if "opaque" in values:
        fields["opaque"] = _quote(values["opaque"])
    return "Digest " + ", ".join(f"{name}={value}" for name, value in fields.items())


def _is_supported(values: Mapping[str, str]) -> bool:
    """Return whether `answer_digest` can answer a challenge of the scheme Digest."""
    qualities = [quality.strip().lower() for quality in values.get("qop", "auth").split(",")]
    known = values.get("algorithm", "MD5").upper() in _ALGORITHMS
    return known and {"nonce", "realm"} <= values.keys() and "auth" in qualities


def _quote(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
