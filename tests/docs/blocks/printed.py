"""Whether a command printed what its page quotes; numbers, times and ids may differ."""

import re

NUMBERED = re.compile(r"[\w:+,%-]*\d(?:[\w.:+,%-]*[\w:+,%-])?(?: (?:ms|s|min|kB|MB|GB)\b)?")
"""A word with a digit: a number, a time, an id, a version; with its unit, which is another one for a larger number."""
ANY = "..."
"""A line of it stands for any lines; within a line it stands for any text."""


def find_unprinted(quoted: str, output: str) -> str | None:
    """The first line of a quotation that the output doesn't have after the lines before it; None when it has all."""
    printed = iter([_normalised(line) for line in output.splitlines()])
    for line in quoted.splitlines():
        wanted = _normalised(line)
        if not wanted or wanted == ANY:
            continue
        pattern = re.compile(".*".join(re.escape(part) for part in wanted.split(ANY)))
        if all(pattern.fullmatch(found) is None for found in printed):
            return line
    return None


def _normalised(line: str) -> str:
    return " ".join(NUMBERED.sub("#", line).split())
