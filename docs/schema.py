"""Writes the JSON Schema of an artifact's manifest: `python docs/schema.py > docs/manifest.schema.json`.

A test checks that the file is up to date.
"""

from __future__ import annotations

import json

import click

from eaves.artifact.schema import build_schema


def build_document() -> str:
    """Return the JSON Schema of an artifact's manifest as the text of the file."""
    return json.dumps(build_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    click.echo(build_document(), nl=False)
