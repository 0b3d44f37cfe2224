"""Mutants: small changes of the code that tests must notice.

They are listed in mutants.toml with the tests that notice them; `python -m tests.mutants` makes and tries each one.
"""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLE = Path(__file__).with_name("mutants.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One change of the code.

    Attributes:
        name: Unique name.
        breaks: What the change breaks.
        file: File that is changed, relative to the root of the project.
        pattern: Text that occurs exactly once in the file.
        replacement: Text in its place.
        tests: Nearest tests: files or test functions, relative to the root of the project.
    """

    name: str
    breaks: str
    file: str
    pattern: str
    replacement: str
    tests: tuple[str, ...]

    def apply(self, text: str) -> str | None:
        """Return the changed text of the file; None when the pattern doesn't occur exactly once."""
        return text.replace(self.pattern, self.replacement) if text.count(self.pattern) == 1 else None


def load_mutants() -> Sequence[Mutant]:
    """Return the mutants in the order of the table."""
    listed = tomllib.loads(TABLE.read_text(encoding="utf-8"))["mutant"]
    return [Mutant(**{**values, "tests": tuple(values["tests"])}) for values in listed]
