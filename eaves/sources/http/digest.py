"""Response to a challenge of the authentication scheme Digest.

It is implemented here because the standard library's `AbstractDigestAuthHandler` supports MD5 only and is bound to
urllib.request, and libraries that support more need another HTTP client. Source: RFC 7616; RFC 2069 without `qop`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from eaves.sources.http.challenge import Challenge

_ALGORITHMS = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}
_SESSION = "-SESS"


def is_supported(challenge: Challenge) -> bool:
    """Return whether `answer_digest` can answer a challenge of the scheme Digest."""
    values = challenge.parameters
    known = _algorithm(challenge).removesuffix(_SESSION) in _ALGORITHMS
    return (
        known and "nonce" in values and "realm" in values and ("qop" not in values or "auth" in _qualities(challenge))
    )


def answer_digest(
    challenge: Challenge, *, username: str, password: str, method: str, uri: str, count: int, client_nonce: str
) -> str:
    """Return the value of the Authorization header that answers a Digest challenge.

    Args:
        challenge: Challenge that `is_supported` accepts.
        username: User to log in.
        password: Password of the user.
        method: HTTP method of the request.
        uri: Path and query of the request, as they are sent.
        count: Number of requests with this nonce of the server, from 1.
        client_nonce: Random text.
    """
    values, algorithm = challenge.parameters, _algorithm(challenge)
    digest = _hasher(_ALGORITHMS[algorithm.removesuffix(_SESSION)])
    realm, nonce, number = values["realm"], values["nonce"], f"{count:08x}"
    secret = digest(f"{username}:{realm}:{password}")
    if algorithm.endswith(_SESSION):
        secret = digest(f"{secret}:{nonce}:{client_nonce}")
    asked = digest(f"{method}:{uri}")
    hashed = values.get("userhash", "").lower() == "true"
    fields = {
        "username": _quote(digest(f"{username}:{realm}") if hashed else username),
        "realm": _quote(realm),
        "nonce": _quote(nonce),
        "uri": _quote(uri),
    }
    if "qop" in values:
        response = digest(f"{secret}:{nonce}:{number}:{client_nonce}:auth:{asked}")
        fields |= {"qop": "auth", "nc": number, "cnonce": _quote(client_nonce)}
    else:
        response = digest(f"{secret}:{nonce}:{asked}")
    fields["response"] = _quote(response)
    if "algorithm" in values:
        fields["algorithm"] = values["algorithm"]
    if "opaque" in values:
        fields["opaque"] = _quote(values["opaque"])
    if hashed:
        fields["userhash"] = "true"
    return "Digest " + ", ".join(f"{name}={value}" for name, value in fields.items())


def _algorithm(challenge: Challenge) -> str:
    return challenge.parameters.get("algorithm", "MD5").upper()


def _qualities(challenge: Challenge) -> list[str]:
    return [quality.strip().lower() for quality in challenge.parameters["qop"].split(",")]


def _hasher(name: str) -> Callable[[str], str]:
    # usedforsecurity: where MD5 is disabled for security, the camera still requires it.
    return lambda text: hashlib.new(name, text.encode(), usedforsecurity=False).hexdigest()


def _quote(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
