"""The command `eaves evaluate`, which measures the accuracy of a model."""

from __future__ import annotations

from typing import Any

import click

from eaves.cli.display.output import say
from eaves.cli.evaluation import evaluate_models, evaluation_options


@click.command()
@click.argument("model")
@click.argument("data")
@evaluation_options
@click.option(
    "--min-accuracy",
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="End with exit code 1 when the lower end of the model's 95 % interval is below this, 0 to 1.",
)
@click.pass_context
def command(context: click.Context, /, model: str, data: str, min_accuracy: float | None, **options: Any) -> None:
    """Measure the accuracy of a model on the labelled images in DATA.

    MODEL is the directory of a run or of an artifact, or the URL of a running function, such as
    http://127.0.0.1:8480/functions/NAME.

    DATA is a path or URI of a folder with one subfolder of images per class, a manifest (.csv) or an archive.
    In a folder with the subfolders train and val, only the images in val are used.
    """
    (evaluation,) = evaluate_models((model,), data, **options)
    if min_accuracy is not None and evaluation.interval[0] < min_accuracy:
        say(f"the lower end of the accuracy is below --min-accuracy {min_accuracy}")
        context.exit(1)
