"""The session of a person who has logged in, as a signed cookie.

The cookie holds an id and two times and no secret; the server keeps nothing but the ids of sessions that ended early.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, replace

from itsdangerous import BadSignature, Signer

ID_BYTES = 16
CLOCK_S = 60.0
"""Time by which a session may begin in the future, seconds: a clock that was corrected since the login. Sessions of a
later future end, as a wrong clock would let them live longer than intended."""
RENEW_S = 60.0
"""Maximum age of `LoginSession.seen_at` in a cookie, seconds, so that not every response sets a cookie."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginSession:
    """A login.

    Attributes:
        id: Random name of the session.
        since: Time of the login, Unix seconds.
        seen_at: Time of the last request of the person, Unix seconds.
    """

    id: str
    since: int
    seen_at: int


def begin_session(now: float) -> LoginSession:
    """Return a session that begins now."""
    return LoginSession(id=secrets.token_urlsafe(ID_BYTES), since=int(now), seen_at=int(now))


def left_s(session: LoginSession, now: float, *, session_s: float, idle_s: float) -> float:
    """Return the time until a session ends when the person does nothing, seconds; 0 when it has ended."""
    if max(session.since, session.seen_at) > now + CLOCK_S:
        return 0.0
    return max(0.0, min(session.since + session_s, session.seen_at + idle_s) - now)


def renew(session: LoginSession, now: float, *, idle_s: float) -> LoginSession | None:
    """Return the session with the present time as `seen_at`; None when the cookie's time is recent enough."""
    return replace(session, seen_at=int(now)) if now - session.seen_at >= min(RENEW_S, idle_s / 10) else None


def sign_session(session: LoginSession, key: bytes) -> str:
    """Return the text of a cookie."""
    return _signer(key).sign(f"{session.id}.{session.since}.{session.seen_at}".encode()).decode()


def parse_session(text: str, key: bytes) -> LoginSession | None:
    """Return the session in a cookie's text; None when this key hasn't signed it."""
    try:
        name, since, seen_at = _signer(key).unsign(text.encode()).decode().split(".")
        return LoginSession(id=name, since=int(since), seen_at=int(seen_at))
    except (BadSignature, ValueError):
        return None


def _signer(key: bytes) -> Signer:
    return Signer(key, salt=b"eaves.console.session", digest_method=hashlib.sha256, key_derivation="hmac")
