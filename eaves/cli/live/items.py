"""Printing of values one after the other, as JSON lines or YAML documents."""

from __future__ import annotations

import json
from typing import Any

import click

from eaves.base.terminal import escape_json
from eaves.cli.display.output import print_value


def print_item(value: Any, form: str) -> None:
    """Print a value on stdout as one line of JSON, or as one YAML document.

    Args:
        value: Plain data.
        form: `json` or `yaml`.
    """
    if form == "json":
        click.echo(escape_json(json.dumps(value, ensure_ascii=False)))
        return
    click.echo("---")
    print_value(value, form)
