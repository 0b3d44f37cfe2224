"""Parsing of the challenges in the WWW-Authenticate headers of a server."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

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
