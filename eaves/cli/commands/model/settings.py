"""The command `eaves settings`, which explains the settings of eaves.yaml."""

from __future__ import annotations

import difflib
import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from eaves.cli.display.output import output_option, print_line, print_rows, print_sentence, print_value
from eaves.errors import NotFoundError

if TYPE_CHECKING:
    from eaves.cli.app.settings_table import SettingDescription

OVERVIEW = {"section": "SECTION", "settings": "SETTINGS", "doc": "WHAT IT SETS"}
PIPE_COLUMNS = 100
"""Width of the text when stdout is no terminal, columns."""


@click.command()
@click.argument("section", metavar="[SECTION|SETTING]", default="")
@output_option
def command(section: str, form: str) -> None:
    """Show the settings in SECTION, each with its meaning, type, range, default, flag and environment variable.

    Without SECTION, every section of eaves.yaml is listed; as JSON or YAML, every setting. SECTION may also be one
    setting, such as train.epochs. No eaves.yaml is needed.
    """
    found = _find(section)
    if form != "table":
        print_value([asdict(description) for description in found], form)
    elif section:
        _print_settings(found)
        _print_subsections(section)
    else:
        _print_overview()


def _find(name: str) -> list[SettingDescription]:
    """Return the settings of a section, or one setting, by its name; an empty name returns every setting.

    Raises:
        NotFoundError: When the name is neither a section nor a setting.
    """
    from eaves.cli.app.settings_table import SECTIONS, describe_setting

    named = [section for section in SECTIONS if section.name == name and name]
    found = [
        describe_setting(leaf, section)
        for section in named or SECTIONS
        for leaf in section.settings()
        if named or not name or leaf.path == name or leaf.path.startswith(f"{name}.")
    ]
    if not found:
        known = [section.name for section in SECTIONS if section.name]
        paths = [leaf.path for section in SECTIONS for leaf in section.settings()]
        ends = {path.rpartition(".")[2]: path for path in reversed(paths)}
        near = difflib.get_close_matches(name, [*known, *paths], n=1, cutoff=0.7)
        near = near or [ends[end] for end in difflib.get_close_matches(name, ends, n=1, cutoff=0.7)]
        hint = f"eaves settings {near[0]}" if near else f"one of these sections: {', '.join(known)}"
        raise NotFoundError(f"{name!r} is neither a section nor a setting of eaves.yaml", hint=hint)
    return found


def _print_overview() -> None:
    from eaves.cli.app.settings_table import SECTIONS

    rows = []
    for section in SECTIONS:
        if section.name:
            rows.append({"section": section.name, "settings": len(section.settings()), "doc": section.doc})
        else:
            rows += [{"section": leaf.path, "settings": 1, "doc": leaf.doc} for leaf in section.settings()]
    print_rows(rows, OVERVIEW, "table")
    print_sentence("`eaves settings SECTION` explains each setting in a section, such as `eaves settings train`.")


def _print_subsections(name: str) -> None:
    """Print the name and description of each section that is below a section, such as `knative.training`."""
    from eaves.cli.app.settings_table import SECTIONS

    below = [section for section in SECTIONS if section.name.startswith(f"{name}.")]
    if below:
        print_line("")
    for section in below:
        print_line(f"eaves settings {section.name}: {section.doc}")


def _print_settings(found: Sequence[SettingDescription]) -> None:
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else PIPE_COLUMNS
    for number, one in enumerate(found):
        if number:
            print_line("")
        print_line(one.setting)
        for line in textwrap.wrap(one.doc, max(40, width) - 2, break_long_words=False, break_on_hyphens=False):
            print_line(f"  {line}")
        facts = {
            "type": " ".join(filter(None, (one.type, one.range))) + (f", in {one.unit}" if one.unit else ""),
            "default": "none: a value is required" if one.required else _render_default(one.default),
            "flag": one.flag,
            "variable": one.variable,
        }
        for name, value in facts.items():
            if value:
                for line in textwrap.wrap(
                    f"{name + ':':<10}{value}", max(40, width) - 4, subsequent_indent=" " * 10,
                    break_long_words=False, break_on_hyphens=False,
                ):  # fmt: skip
                    print_line(f"    {line}")


def _render_default(default: Any) -> str:
    """Return a default value as it is written in eaves.yaml."""
    if isinstance(default, bool):
        return str(default).lower()
    if default in ("", None, [], {}):
        return "empty"
    return ", ".join(map(str, default)) if isinstance(default, list) else str(default)
