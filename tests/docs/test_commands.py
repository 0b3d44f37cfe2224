"""Every `eaves` command in the documentation is one, with options that it has; every setting is in eaves.yaml."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click

from eaves.cli import COMMANDS, cli
from eaves.cli.project import Project
from eaves.config import iter_leaves

ROOT = Path(__file__).parents[2]
PAGES = sorted({*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("examples/*/README.md")})
SHELLS = ("", "bash", "sh")
SPAN = re.compile(r"`([^`\n]+)`")
ENDS = re.compile(r"\s#.*|[;&|)>]+.*|\"?\$\(.*")
"""What follows a command's words on its line."""


def code(text: str) -> Iterator[str]:
    """Lines of shell blocks, indented ones, and what stands in backquotes; not of YAML and other languages."""
    language: str | None = None
    for line in text.replace("\\\n", " ").splitlines():
        if line.startswith("```"):
            language = None if language is not None else line[3:].strip()
        elif language in SHELLS or (language is None and line.startswith("    ")):
            yield line
        elif language is None:
            yield from SPAN.findall(line)


def reported(text: str) -> Iterator[str]:
    """Commands in code, without what stands before them (kn, cd, variables)."""
    for line in code(text):
        for found in re.finditer(r"(?:^|[ \"'(])eaves ((?:[a-z]+)\b.*)", line):
            yield ENDS.sub("", found[1])


def faults(line: str) -> Iterator[str]:
    """What isn't as the command has it."""
    name, *words = shlex.split(line, posix=False)
    if name not in COMMANDS:
        yield f"there is no command {name!r}"
        return
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    if isinstance(command, click.Group):
        inner = words.pop(0) if words and words[0] in command.commands else "list"
        if inner in command.commands:
            name, command = f"{name} {inner}", command.commands[inner]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for word in words:
        option = word.partition("=")[0].strip("[],.:|")
        if option.startswith("-") and option != "-" and option not in {*known, "--help"}:
            yield f"{name} has no {option}"


def test_every_command_is_one():
    found = [(page.name, line) for page in PAGES for line in reported(page.read_text())]
    assert [f"{name}: {line}: {fault}" for name, line in found for fault in faults(line)] == []


def test_every_setting_is_one():
    """ARCHITECTURE.md names modules, which look the same."""
    settings = {leaf.path for leaf in iter_leaves(Project)}
    sections = "|".join({path.partition(".")[0] for path in settings if "." in path})
    text = "\n".join(page.read_text() for page in PAGES if page.name != "ARCHITECTURE.md")
    assert set(re.findall(rf"`((?:{sections})\.(?!py\b)[a-z_]+)\b[^`]*`", text)) - settings == set()


def test_no_page_installs_eaves_from_an_index():
    """No index has Eaves; it is installed from a checkout."""
    text = "\n".join(page.read_text() for page in PAGES)
    assert re.findall(r"pip install (?:-\S+ )*'?eaves\b.*", text) == []


def test_no_hint_installs_eaves_from_an_index():
    """Who takes that name there could run code on the machines of all who follow the hint."""
    folders = ("eaves", "functions", "converters", "trainer", "knative")
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        for line in path.read_text().splitlines()
        if re.search(r"pip install (?:-\S+ )*[\"']?(?:eaves\b|\{DISTRIBUTION)", line)
    ]
    assert found == []
