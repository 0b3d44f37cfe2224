"""Quoting of values in a systemd unit file.

Source: systemd.syntax(7), Quoting; systemd.unit(5), Specifiers; systemd.service(5), Command lines.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from eaves.errors import ConfigError, Fault

_PLAIN = re.compile(r"[A-Za-z0-9_./:=,@+-]+")
"""Pattern of words that need no quotes in a unit file."""
_ENV = "/usr/bin/env"
"""Path of env(1), which starts a program whose path systemd refuses in ExecStart."""
_REFUSED_IN_PROGRAM = frozenset("\"'\\")
"""Characters that systemd refuses in the path of the program in ExecStart. Source: systemd, string_is_safe in
config_parse_exec."""


def check(text: str, path: str) -> None:
    """Raise an error for a text that can't be written into a unit file.

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
    """Return a word, such as an argument or an environment variable, quoted for a list in a unit file."""
    if _PLAIN.fullmatch(word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escape_specifiers(escaped)}"'


def quote_command(command: Sequence[str]) -> str:
    """Return a command line for ExecStart.

    In arguments, the prefix `:` keeps systemd from replacing `$NAME`. systemd refuses a program whose path has quotes
    or backslashes, so such a program is started by env(1), as an argument of it.
    """
    words = [_ENV, *command] if _REFUSED_IN_PROGRAM & set(command[0]) else list(command)
    prefix = ":" if any("$" in word for word in words) else ""
    return prefix + " ".join(map(quote, words))


def write_path(path: str) -> str:
    """Return a path for a setting that takes one path without quotes, such as WorkingDirectory.

    systemd would remove a space at the end of the line, and would join the line with the next one after a backslash. A
    slash is appended to such a path to prevent both.
    """
    return escape_specifiers(path + "/" if path[-1:] in {" ", "\\"} else path)


def escape_specifiers(text: str) -> str:
    """Return a text in which each `%` is escaped, so that systemd doesn't replace specifiers such as `%h`."""
    return text.replace("%", "%%")
