"""Quoting of values in a systemd unit file.

Source: systemd.syntax(7), Quoting; systemd.unit(5), Specifiers; systemd.service(5), Command lines.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from eaves.errors import ConfigError, Fault

_PLAIN = re.compile(r"[A-Za-z0-9_./:=,@+-]+")
"""Words that need no quotes."""
_ENV = "/usr/bin/env"
"""Program that starts a program whose own path systemd doesn't accept."""
_REFUSED_IN_PROGRAM = frozenset("\"'\\")
"""Characters that systemd refuses in a program's path. Source: systemd, string_is_safe in config_parse_exec."""


def check(text: str, path: str) -> None:
    """Refuse a text that no unit file can hold.

    Args:
        text: A path, a name or an argument.
        path: Name of the value, for the error.

    Raises:
        ConfigError: When the text has control characters, or bytes that are no UTF-8.
    """
    if any(char < " " or char == "\x7f" or "\ud800" <= char <= "\udfff" for char in text):
        message = f"{text!r} has a control character or bytes that are no UTF-8, which a systemd unit can't hold"
        raise ConfigError([Fault(origin="service", path=path, message=message)], hint="rename it")


def quote(word: str) -> str:
    """Return one word of a list, such as an argument or an environment variable."""
    if _PLAIN.fullmatch(word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escape_specifiers(escaped)}"'


def quote_command(command: Sequence[str]) -> str:
    """Return a command line for ExecStart.

    The prefix `:` keeps systemd from replacing `$NAME`; a program's path can't be protected in another way. A path with
    quotes or backslashes is only accepted as an argument, so env(1) starts that program.
    """
    words = [_ENV, *command] if _REFUSED_IN_PROGRAM & set(command[0]) else list(command)
    prefix = ":" if any("$" in word for word in words) else ""
    return prefix + " ".join(map(quote, words))


def write_path(path: str) -> str:
    """Return a path for a setting that takes one path without quotes, such as WorkingDirectory.

    A slash at the end protects a space there, which would be left out, and a backslash, which would join the next line.
    """
    return escape_specifiers(path + "/" if path[-1:] in {" ", "\\"} else path)


def escape_specifiers(text: str) -> str:
    """Return a text in which systemd replaces nothing that begins with `%`."""
    return text.replace("%", "%%")
