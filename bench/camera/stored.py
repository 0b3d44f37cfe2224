"""Keeps the results of programs that take longer than a part of the benchmark may, for the part's section."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from bench.material import FOLDER
from eaves.base.files import write_atomically

Row = TypeVar("Row")


def save(rows: Sequence[Any], name: str) -> None:
    """Store dataclasses under a name."""
    path = FOLDER / f"camera/{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps([asdict(row) for row in rows], indent=1))


def load(kind: type[Row], name: str) -> list[Row]:
    """Return the dataclasses that were stored last under a name; an empty list without any."""
    path = FOLDER / f"camera/{name}.json"
    return [kind(**row) for row in json.loads(path.read_text())] if path.exists() else []
