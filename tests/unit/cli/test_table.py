"""Every command's tables at 80 columns: no broken word, no line that is too long, no control character."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from rich.cells import cell_len

import eaves.cli
from eaves.base.terminal import escape
from eaves.cli import COMMANDS, load_command
from eaves.cli.display.output import output_option, print_rows
from eaves.cli.display.table import Column, Columns, Kind, render_table

WIDTH = 80
HOSTILE = "\x1b[31mred\x07 \u202ehidden\u202c 花の写真がここにあります end"
LONG = "/a/very/long/path/" + "x" * 200 + "/photo-0017.jpg"
PROBLEM = (
    'answered 422: {"type": "urn:eaves:problem:image", "title": "image", "status": 422, '
    '"detail": "the data is no image: \\u00fcber", "hint": "send a JP'
)
ID = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
NEVER_CUT = ("audit",)
"""Modules whose tables are wider than the terminal rather than cut: they hold numbers only."""


def tables() -> Iterator[tuple[str, Columns]]:
    """Every table of the command line: the constants that name its columns."""
    for found in pkgutil.walk_packages(eaves.cli.__path__, "eaves.cli."):
        if found.name.endswith("__main__"):
            continue
        module = importlib.import_module(found.name)
        for name, value in vars(module).items():
            if name.isupper() and isinstance(value, dict) and value and all(map(is_column, value.values())):
                yield f"{found.name.removeprefix('eaves.cli.')}.{name}", value


def is_column(value: object) -> bool:
    return isinstance(value, Column) or (isinstance(value, str) and value.isupper())


TABLES = dict(tables())
KEYS = ("ALWAYS",)
"""Constants that choose among the columns of a table and are none themselves."""
NO_TABLE = ("package", "sign", "sources try")
"""Commands with `-o` that print sentences in place of a table."""


def walk(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for inner_name, inner in command.commands.items():
            yield from walk(inner, f"{name} {inner_name}")
    yield name, command


COMMAND_TREE = dict(found for name in COMMANDS for found in walk(load_command(name), name))


def value_of(column: str | Column, row: int) -> Any:
    kind = column.kind if isinstance(column, Column) else Kind.TEXT
    by_kind: dict[Kind, Any] = {
        Kind.TEXT: ["flowers", HOSTILE, "two plain words"][row],
        Kind.NUMBER: 1_234_567,
        Kind.PATH: ["photos/daisy/1.jpg", LONG, HOSTILE][row],
        Kind.ID: ID,
        Kind.MOMENT: time.time() - 86_400 * row,
        Kind.MILLISECONDS: 643.3 * 10**row,
        Kind.SECONDS: 12.34 * 10**row,
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


def test_tables_of_every_command_are_found() -> None:
    names = {name.rpartition(".")[0].rpartition(".")[2] for name in TABLES}
    assert names >= {"status", "events", "queue", "send", "audit", "doctor", "verify", "multi_site"}


@pytest.mark.parametrize("name", [name for name in TABLES if name.split(".")[-2] not in NEVER_CUT])
def test_a_table_fits_80_columns_and_breaks_no_word(name: str) -> None:
    columns = TABLES[name]
    rows = [{key: value_of(column, row) for key, column in columns.items()} for row in range(3)]
    done = show(rows, columns, COLUMNS=str(WIDTH))

    assert [line for line in done.stdout.splitlines() if cell_len(line) > WIDTH] == []
    assert escape(done.stdout) == done.stdout
    whole = " ".join(
        render_table(rows, columns, width=None).lines  # every word as it is without a limit
    ).split()
    for word in done.stdout.split():
        start, end = word.removesuffix("…"), word.removeprefix("…")
        assert (
            word in whole
            or (word != start and any(one.startswith(start) for one in whole))
            or (word != end and any(one.endswith(end) for one in whole))
        ), f"{word!r} is a broken word"


def test_columns_are_left_out_in_their_order_and_named() -> None:
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


def test_wide_has_every_column_and_whole_ids_at_any_width() -> None:
    columns: Columns = {
        "id": Column("EVENT", Kind.ID),
        "reason": Column("REASON", Kind.REASON, drop=1),
        "n": Column("SIZE", Kind.BYTES),
    }
    rows = [{"id": ID, "reason": PROBLEM, "n": 20_480}]
    done = show(rows, columns, "-o", "wide", COLUMNS="40")
    assert done.stderr == ""
    assert done.stdout.splitlines()[1].split("   ") == [ID, PROBLEM, "20480"]


def test_a_pipe_has_one_line_for_each_row() -> None:
    rows = [{"a": "many words " * 40, "b": LONG}]
    lines = show(rows, {"a": "A", "b": Column("B", Kind.PATH, drop=1)}, COLUMNS="").stdout.splitlines()
    assert len(lines) == 2
    assert lines[1].endswith(LONG)


def test_ids_are_8_digits_and_problem_documents_their_detail() -> None:
    columns: Columns = {
        "id": Column("EVENT", Kind.ID),
        "reason": Column("REASON", Kind.REASON),
        "ms": Column("T", Kind.MILLISECONDS),
    }
    line = show([{"id": ID, "reason": PROBLEM, "ms": 643.3}], columns).stdout.splitlines()[1]
    assert line.split("   ") == ["0f1e2d3c", "answered 422: the data is no image: über", "643 ms"]


def test_json_is_whole() -> None:
    done = show(
        [{"id": ID, "reason": PROBLEM, "more": 1}], {"id": Column("EVENT", Kind.ID)}, "-o", "json", COLUMNS="20"
    )
    assert ID in done.stdout
    assert '"more": 1' in done.stdout


def test_numbers_stay_whole_in_a_terminal_that_is_too_narrow() -> None:
    columns: Columns = {str(number): f"H{number}" for number in range(20)}
    lines = show([dict.fromkeys(columns, 1_234_567)], columns, COLUMNS="40").stdout.splitlines()
    assert lines[1].split() == ["1234567"] * 20


def test_no_rows_are_a_heading() -> None:
    assert show([], {"a": "A", "b": Column("B", drop=1)}, COLUMNS="80").stdout == "A   B\n"


def test_a_label_of_nested_lists_is_a_text() -> None:
    nested: list[Any] = []
    for _ in range(900):
        nested = [nested]
    assert render_table([{"label": nested}], {"label": "LABEL"}, width=80).lines


def test_every_call_that_prints_a_table_uses_columns_that_are_rendered_here() -> None:
    """Columns that are put together in a call would escape the tests above."""
    unknown = []
    for module, tree in sources():
        for call in calls(tree, "print_rows"):
            names = set(resolve(call.args[1], call, tree))
            if not names or not names <= {name.rpartition(".")[2] for name in TABLES}:
                unknown.append(f"{module}:{call.lineno}: {ast.unparse(call.args[1])}")
    assert unknown == []


def test_a_table_is_rendered_here_for_every_command_with_one() -> None:
    """Commands with `-o` and without a table are listed by name."""
    without = []
    for name, command in COMMAND_TREE.items():
        if any(parameter.name == "form" for parameter in command.params):
            module = str(getattr(command.callback, "__module__", ""))
            if reachable(module).isdisjoint(table.rpartition(".")[0] for table in TABLES):
                without.append(name)
    assert sorted(without) == sorted(NO_TABLE)


def test_only_one_module_writes_tables() -> None:
    """A second one would not be rendered here."""
    assert [module for module, tree in sources() if list(calls(tree, "render_table"))] == ["display.output"]


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("width", ["20", "80"])
def test_wide_cuts_and_leaves_out_nothing(name: str, width: str) -> None:
    columns = TABLES[name]
    rows = [{key: value_of(column, row) for key, column in columns.items()} for row in range(3)]
    done = show(rows, columns, "-o", "wide", COLUMNS=width)
    assert (done.stderr, len(done.stdout.splitlines())) == ("", 4)
    assert escape(done.stdout) == done.stdout
    for key, column in columns.items():
        assert (column.heading if isinstance(column, Column) else column) in done.stdout.splitlines()[0]
        for row, line in zip(rows, done.stdout.splitlines()[1:], strict=True):
            if isinstance(row[key], str):
                assert escape(row[key]) in line


def sources() -> Iterator[tuple[str, ast.Module]]:
    """The syntax tree of every module of the command line."""
    for path in sorted(Path(eaves.cli.__path__[0]).rglob("*.py")):
        name = ".".join(path.relative_to(eaves.cli.__path__[0]).with_suffix("").parts)
        yield name, ast.parse(path.read_text(encoding="utf-8"))


def calls(tree: ast.AST, name: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
            yield node


def resolve(value: ast.expr, place: ast.AST, tree: ast.Module) -> Iterator[str]:
    """The constants that an argument comes from: itself, through a variable, or through a parameter."""
    for node in ast.walk(value):
        if isinstance(node, ast.Name) and node.id.isupper() and node.id not in KEYS:
            yield node.id
    if not isinstance(value, ast.Name) or value.id.isupper():
        return
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and place in ast.walk(function):
            for node in ast.walk(function):
                if isinstance(node, ast.Assign) and any(ast.unparse(target) == value.id for target in node.targets):
                    yield from resolve(node.value, node, tree)
            names = [argument.arg for argument in function.args.args]
            if value.id in names:
                for call in calls(tree, function.name):
                    yield from resolve(call.args[names.index(value.id)], call, tree)


def reachable(module: str) -> set[str]:
    """The modules of the command line that a module imports, itself among them; short names, as in TABLES."""
    seen: set[str] = set()
    left = [module]
    while left:
        one = left.pop()
        path = Path(eaves.cli.__path__[0]).joinpath(*one.split(".")[2:]).with_suffix(".py")
        if one in seen or not path.is_file():
            continue
        seen.add(one)
        left += imported(path)
    return {one.removeprefix("eaves.cli.") for one in seen}


@cache
def imported(path: Path) -> list[str]:
    """The modules of the command line that a file imports."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    imports = (node.module or "" for node in nodes if isinstance(node, ast.ImportFrom))
    return [name for name in imports if name.startswith("eaves.cli.")]
