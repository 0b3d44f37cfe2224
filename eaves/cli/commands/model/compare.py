"""The command `eaves compare`, which compares two models on the same images."""

from __future__ import annotations

from typing import Any

import click

from eaves.cli.evaluation import evaluate_models, evaluation_options


@click.command()
@click.argument("first")
@click.argument("second")
@click.argument("data")
@evaluation_options
def command(first: str, second: str, data: str, **options: Any) -> None:
    """Compare the models FIRST and SECOND on the labelled images in DATA.

    Each is the directory of a run or of an artifact, or the URL of a running function. Images that a run was trained
    on, and copies of them, are left out. DATA is what `eaves evaluate` takes.
    """
    evaluate_models((first, second), data, **options)
