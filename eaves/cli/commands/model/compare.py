"""The command `eaves compare`, which shows the differences between two runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from eaves.base.statistics import round_outward
from eaves.cli.display.output import output_option, print_rows, print_sentence, print_value, say
from eaves.cli.display.table import Column, Columns, Kind
from eaves.cli.labelled_data import build_bars, page_option, prepare_tensorflow
from eaves.cli.latest import ModelPath

if TYPE_CHECKING:
    from converters.evaluation.comparison import RunComparison

FIGURES: Columns = {
    "run": Column("RUN", Kind.PATH),
    "accuracy": "ACCURACY",
    "interval": "95 % INTERVAL",
    "held_out": "HELD OUT",
    "trained_on": Column("TRAINED ON", drop=2),
    "size_mb": Column("MODEL MB", drop=3),
    "training_s": Column("TOOK", Kind.SECONDS, drop=1),
}
SETTINGS = {"setting": "SETTING THAT DIFFERS", "first": "FIRST", "second": "SECOND"}


@click.command()
@click.argument("first", type=ModelPath(exists=True, file_okay=False))
@click.argument("second", type=ModelPath(exists=True, file_okay=False))
@click.option(
    "--data",
    default="",
    help="Path or URI of the labelled images. Default: the path that the first run was trained on.",
)
@page_option("HTML page to write, with learning curves.")
@output_option
def command(first: Path, second: Path, data: str, page: Path | None, form: str) -> None:
    """Show the differences between the runs in FIRST and SECOND.

    The accuracy of both models is measured on the images that both runs hold out. Settings, sizes, figures and
    learning curves are also compared when the runs hold out no common images.
    """
    from converters.evaluation.comparison import compare

    prepare_tensorflow()
    found = compare(first, second, data, build_bars())
    if page is not None:
        from converters.evaluation.page import build_comparison_page
        from trainer.report.html_page import write_page

        write_page(page, build_comparison_page(found))
    if form == "table":
        _print(found)
    else:
        print_value(found.to_dict(), form)
    if page is not None:
        say(f"page: {page}")


def _print(found: RunComparison) -> None:
    rows = [
        {
            "run": facts.name,
            "accuracy": facts.accuracy,
            "interval": "{:.3f} to {:.3f}".format(*round_outward(facts.interval, 3)),
            "held_out": facts.held_out,
            "trained_on": facts.trained_on,
            "size_mb": round(facts.size_bytes / 1e6, 1),
            "training_s": round(facts.training_s, 1),
        }
        for facts in found.runs
    ]
    names = " OR ".join(sorted({facts.figure.upper() for facts in found.runs}))
    print_rows(rows, {**FIGURES, "accuracy": names}, "table")
    if found.settings:
        print_rows(
            [{"setting": item.setting, "first": item.first, "second": item.second} for item in found.settings],
            SETTINGS,
            "table",
        )
    if found.copies:
        say(f"{found.copies} images are left out: they are copies of images that a run was trained on")
    for note in found.notes:
        say(f"note: {note}")
    if found.pairing is None:
        print_sentence(f"the runs are not compared on the same images: {found.not_paired}")
        return
    pairing, (low, high) = found.pairing, round_outward(found.pairing.interval, 3)
    first, second = (evaluation.accuracy for evaluation in found.evaluations)
    print_sentence(
        f"{pairing.figure} on the {pairing.images} images that both runs hold out: {first:.3f} and {second:.3f}, "
        f"{pairing.difference * 100:+.1f} points ({low * 100:+.1f} to {high * 100:+.1f} with 95 % confidence); "
        f"exact McNemar p = {pairing.p_value:.2g}"
    )
    print_sentence(
        f"right predictions: {pairing.both_right} by both models, {pairing.lost} only by the first, {pairing.gained} "
        f"only by the second, {pairing.both_wrong} by neither"
    )
