"""The answer to a challenge of the scheme Digest.

By hand: the standard library's `AbstractDigestAuthHandler` knows MD5 only and is bound to urllib.request, and the
libraries that know more belong to another HTTP client each. Source: RFC 7616; RFC 2069 for servers without `qop`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from eaves.sources.http.challenge import Challenge

_ALGORITHMS = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}
_SESSION = "-SESS"


def is_supported(challenge: Challenge) -> bool:
    """Whether `answer_digest` can answer a challenge of the scheme Digest."""
    values = challenge.parameters
    known = _algorithm(challenge).removesuffix(_SESSION) in _ALGORITHMS
    return (
        known and "nonce" in values and "realm" in values and ("qop" not in values or "auth" in _qualities(challenge))
    )


def answer_digest(
    challenge: Challenge, *, username: str, password: str, method: str, uri: str, count: int, client_nonce: str
) -> str:
    """The value of the Authorization header.

    Args:
        challenge: One that is supported.
        username: Whom to log in.
        password: The password.
        method: HTTP method of the request.
        uri: Its path and query, as they are sent.
        count: Which request with this nonce of the server it is, from 1.
        client_nonce: A random text.
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
    # usedforsecurity: where MD5 is switched off for security, it is still what the camera asks for.
    return lambda text: hashlib.new(name, text.encode(), usedforsecurity=False).hexdigest()


def _quote(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
