"""Writes the manifest's JSON Schema: `python docs/schema.py > docs/manifest.schema.json`. A test keeps it fresh."""

from __future__ import annotations

import json

import click

from eaves.artifact.schema import build_schema


def build_document() -> str:
    """The whole file."""
    return json.dumps(build_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    click.echo(build_document(), nl=False)
