"""Login at a server by Basic or Digest, with credentials from files.

Digest is implemented here because the standard library's `AbstractDigestAuthHandler` supports MD5 only and is bound to
urllib.request, and libraries that support more need another HTTP client. Source: RFC 9110, section 11; RFC 7616;
RFC 2069 without `qop`.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_ALGORITHMS = {"MD5": "md5", "SHA-256": "sha256"}
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_SCHEME = re.compile(rf"[\s,]*({_WORD})(?=\s|,|$)")
_PARAMETER = re.compile(rf'[\s,]*({_WORD})\s*=\s*("(?:[^"\\]|\\.)*"|{_WORD})')
MAX_HEADER = 8_192
"""Maximum number of characters of a WWW-Authenticate header that are parsed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """One challenge in a WWW-Authenticate header. Source: RFC 9110, section 11.3.

    Attributes:
        scheme: Authentication scheme in lower case, such as `basic` or `digest`.
        parameters: Name of a parameter, in lower case, to its value.
    """

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def parse_challenges(headers: Iterable[str]) -> list[Challenge]:
    """Return the challenges in the values of WWW-Authenticate headers, in order; malformed text is left out."""
    found: list[Challenge] = []
    for header in headers:
        text, position = header[:MAX_HEADER], 0
        parameters: dict[str, str] | None = None
        while True:
            parameter = _PARAMETER.match(text, position) if parameters is not None else None
            if parameter is not None and parameters is not None:
                parameters.setdefault(parameter[1].lower(), _unquote(parameter[2]))
                position = parameter.end()
                continue
            scheme = _SCHEME.match(text, position)
            if scheme is None:
                break
            parameters, position = {}, scheme.end()
            found.append(Challenge(scheme=scheme[1].lower(), parameters=parameters))
    return found


def _unquote(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value


class Authentication:
    """Answers the challenges of one server.

    No credentials are sent before the server asks for them. Digest is preferred to Basic, which shows the password to
    anyone who can read the traffic on http://.

    Args:
        username: User to log in; empty for none.
        password: Password of the user.
    """

    def __init__(self, username: str, password: str) -> None:
        self._username = username
        self._password = password
        self._challenge: Challenge | None = None
        self._count = 0

    @property
    def known(self) -> bool:
        """Whether a user name for the login is set."""
        return bool(self._username)

    def challenge(self, headers: Iterable[str]) -> bool:
        """Store the challenges of an answer with status 401; return whether one of them can be answered.

        Args:
            headers: Values of the answer's WWW-Authenticate headers.
        """
        offered = [one for one in parse_challenges(headers) if one.scheme != "digest" or _is_supported(one)]
        self._challenge = next((one for scheme in ("digest", "basic") for one in offered if one.scheme == scheme), None)
        self._count = 0
        return self._challenge is not None and self.known

    def headers(self, method: str, uri: str) -> dict[str, str]:
        """Return the headers that authenticate a request; empty before the first challenge.

        Args:
            method: HTTP method of the request.
            uri: Path and query of the request, as they are sent.
        """
        if self._challenge is None or not self.known:
            return {}
        if self._challenge.scheme == "basic":
            pair = f"{self._username}:{self._password}".encode()
            return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
        self._count += 1
        client_nonce = secrets.token_urlsafe(16)
        answer = answer_digest(self._challenge, self._username, self._password, method, uri, self._count, client_nonce)
        return {"Authorization": answer}


def answer_digest(
    challenge: Challenge, username: str, password: str, method: str, uri: str, count: int, client_nonce: str
) -> str:
    """Return the value of the Authorization header that answers a Digest challenge.

    Args:
        challenge: Challenge with a supported algorithm and quality.
        username: User to log in.
        password: Password of the user.
        method: HTTP method of the request.
        uri: Path and query of the request, as they are sent.
        count: Number of requests with this nonce of the server, from 1.
        client_nonce: Random text.
    """
    values = challenge.parameters
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


def _is_supported(challenge: Challenge) -> bool:
    """Return whether `answer_digest` can answer a challenge of the scheme Digest."""
    values = challenge.parameters
    qualities = [quality.strip().lower() for quality in values.get("qop", "auth").split(",")]
    known = values.get("algorithm", "MD5").upper() in _ALGORITHMS
    return known and {"nonce", "realm"} <= values.keys() and "auth" in qualities


def _quote(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
