"""Authentication at a server by Basic or Digest.

Once the server has asked for authentication, later requests are authenticated in advance.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterable

from eaves.sources.http.challenge import Challenge, parse_challenges
from eaves.sources.http.digest import answer_digest, is_supported


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
        offered = [one for one in parse_challenges(headers) if one.scheme != "digest" or is_supported(one)]
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
        answer = answer_digest(
            self._challenge,
            username=self._username,
            password=self._password,
            method=method,
            uri=uri,
            count=self._count,
            client_nonce=secrets.token_urlsafe(16),
        )
        return {"Authorization": answer}
