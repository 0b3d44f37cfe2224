"""Every command's tables at 80 columns: no broken word, no line that is too long, no control character."""

import importlib
import pkgutil
import time
from collections.abc import Iterator
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from rich.cells import cell_len

import eaves.cli
from eaves.base.terminal import escape
from eaves.cli.output import (
    Column,
    Columns,
    Kind,
    output_option,
    print_rows,
    render_table,
    shorten_id,
)
from eaves.console.words import count_noun, describe_ms, describe_size

WIDTH = 80
HOSTILE = "\x1b[31mred\x07 \u202ehidden\u202c 花の写真がここにあります end"
LONG = "/a/very/long/path/" + "x" * 200 + "/photo-0017.jpg"
PROBLEM = (
    'answered 422: {"type": "urn:eaves:problem:image", "title": "image", "status": 422, '
    '"detail": "the data is no image: \\u00fcber", "hint": "send a JP'
)
ID = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"


def tables() -> Iterator[tuple[str, Columns]]:
    """Every table of the command line: the constants that name its columns."""
    for found in pkgutil.walk_packages(eaves.cli.__path__, "eaves.cli."):
        module = importlib.import_module(found.name) if not found.name.endswith("__main__") else None
        for name, value in vars(module).items() if module else ():
            if name.isupper() and isinstance(value, dict) and value and all(map(is_column, value.values())):
                yield f"{found.name.rpartition('.')[2]}.{name}", value


def is_column(value: object) -> bool:
    return isinstance(value, Column) or (isinstance(value, str) and value.isupper())


TABLES = dict(tables())


def value_of(column: str | Column, row: int) -> Any:
    kind = column.kind if isinstance(column, Column) else Kind.TEXT
    by_kind: dict[Kind, Any] = {
        Kind.TEXT: ["flowers", HOSTILE, "two plain words"][row],
        Kind.PATH: ["photos/daisy/1.jpg", LONG, HOSTILE][row],
        Kind.ID: ID,
        Kind.MOMENT: time.time() - 86_400 * row,
        Kind.MILLISECONDS: 643.3 * 10**row,
        Kind.BYTES: 20_480 * 1_000**row,
        Kind.REASON: [PROBLEM, LONG, HOSTILE][row],
    }
    return by_kind[kind]


def show(rows: list[dict[str, Any]], columns: Columns, *words: str, **env: str) -> Result:
    @click.command()
    @output_option
    def command(form: str) -> None:
        print_rows(rows, columns, form)

    return CliRunner().invoke(command, words, env=env, catch_exceptions=False)


@pytest.mark.parametrize("name", TABLES)
def test_a_table_fits_80_columns_and_breaks_no_word(name: str):
    columns = TABLES[name]
    rows = [{key: value_of(column, row) for key, column in columns.items()} for row in range(3)]
    done = show(rows, columns, COLUMNS=str(WIDTH))

    assert [line for line in done.stdout.splitlines() if cell_len(line) > WIDTH] == []
    assert escape(done.stdout) == done.stdout
    whole = " ".join(render_table(rows, columns, width=None)[0])  # every word as it is without a limit
    pieces = {*whole.split(), *whole.replace("/", "/ ").split()}  # a path is wrapped after a slash
    pieces |= {f"{first}{second}" for first in pieces for second in pieces if first.endswith("/") and len(first) < 9}
    for word in done.stdout.split():
        start = word.removesuffix("…")
        assert any(start in piece for piece in pieces), f"{word!r} is a broken word"

    wide = show(rows, columns, "-o", "wide", COLUMNS="20")
    assert (wide.stderr, len(wide.stdout.splitlines())) == ("", 4)
    for key, column in columns.items():
        assert (column.heading if isinstance(column, Column) else column) in wide.stdout.splitlines()[0]
        for row, line in zip(rows, wide.stdout.splitlines()[1:], strict=True):
            assert not isinstance(row[key], str) or escape(row[key]) in line


def test_columns_are_left_out_in_their_order_and_named():
    columns: Columns = {
        "a": "FIRST",
        "b": Column("SECOND", drop=2),
        "c": Column("THIRD", drop=1),
        "d": Column("EMPTY", drop=3),
    }
    rows = [{"a": "a" * 20, "b": "b" * 20, "c": "c" * 20}]
    two = show(rows, columns, COLUMNS="50")
    assert (two.stdout.split()[:2], two.stderr) == (
        ["FIRST", "SECOND"],
        "columns that don't fit the terminal: THIRD; -o wide shows them\n",
    )
    one = show(rows, columns, COLUMNS="30")
    assert (one.stdout.split(), one.stderr.split(";")[0]) == (
        ["FIRST", "a" * 20],
        "columns that don't fit the terminal: THIRD, SECOND",
    )


def test_durations_sizes_and_counts_have_units():
    assert [describe_ms(value) for value in (4.23, 9.96, 643.3, 999.7, 1_320, 150_000)] == [
        "4.2 ms", "10 ms", "643 ms", "1.0 s", "1.3 s", "2 minutes",
    ]  # fmt: skip
    sizes = [describe_size(value) for value in (0, 999, 20_480, 1.2e9)]
    assert sizes == ["0 bytes", "999 bytes", "20.5 kB", "1.2 GB"]
    counts = [count_noun(1, "entry"), count_noun(2, "entry"), count_noun(3, "class")]
    assert counts == ["1 entry", "2 entries", "3 classes"]
    ids = ["0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0", "sha256:" + "ab" * 32, "deadbeef"]
    assert [shorten_id(one) for one in ids] == ["0f1e2d3c", "sha256:abababab", "deadbeef"]
