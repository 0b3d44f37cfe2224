"""The command `eaves data`, which checks labelled images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from eaves.cli.app.project import load_workspace
from eaves.cli.command_group import CommandGroup
from eaves.cli.display.output import output_option, print_rows, print_sentence, print_value, say
from eaves.cli.display.table import Columns
from eaves.cli.labelled_data import build_bars, find_labelled_data, page_option
from eaves.cli.shared_options import FILE
from eaves.cli.stop_signals import cancelled_by_ctrl_c

if TYPE_CHECKING:
    from trainer.check.inspection import Inspection

FEATURES = Path("runs/.cache/features")
COLUMNS: Columns = {"label": "CLASS", "images": "IMAGES"}
CACHED = "cached features"
"""Value of `Inspection.described_by` when the features of an earlier training describe the images."""
SHOWN = 3
"""Maximum number of file names in one line of text; the HTML page and JSON list all of them."""


@click.group(cls=CommandGroup)
def command() -> None:
    """Check labelled images before training."""


@command.command()
@click.argument("path", required=False)
@page_option("HTML page to write, with the images that need a check.")
@click.option(
    "--features",
    type=click.Path(path_type=Path),
    default=FEATURES,
    show_default=True,
    help="Folder of features that an earlier training stored. With features, doubtful labels are found far better "
    "than with colours and edges.",
)
@output_option
def check(path: str | None, page: Path | None, features: Path, form: str) -> None:
    """Report what training finds in PATH: classes, copies, unused files and doubtful labels.

    PATH is a path or URI of a folder with one subfolder of images per class, a manifest (.csv, .jsonl) or an archive.
    Without PATH, it is data.path of eaves.yaml. The command changes no image. It ends with exit code 1 when training
    would refuse the images.
    """
    if path is None:
        path = str(load_workspace(Path(FILE), needs_data=True).project.data.path)
    with cancelled_by_ctrl_c(f"stopped: {path} is not checked completely; the same command starts from the beginning"):
        found = _check(path, page, features, form)
    if found.problems:
        click.get_current_context().exit(1)


def _check(path: str, page: Path | None, features: Path, form: str) -> Inspection:
    """Check the images, print the findings and return them."""
    from trainer.check.inspection import inspect_data

    progress = build_bars()
    place, faults = find_labelled_data(path, progress)
    found = inspect_data(place, features=features, progress=progress, faults=faults)
    if page is not None:
        from trainer.check.page import build_check_page
        from trainer.report.html_page import write_page

        write_page(page, build_check_page(found))
    if form == "table":
        _print(found)
    else:
        print_value(found.to_dict(), form)
    if page is not None:
        say(f"page: {page}")
    return found


def _print(found: Inspection) -> None:
    rows = [{"label": label, "images": count} for label, count in found.classes.items()]
    if rows:
        print_rows(rows, COLUMNS, "table")
    if found.images:
        sizes = ", ".join(f"{name} {width}x{height}" for name, (width, height) in found.sizes().items())
        print_sentence(f"{_count(len(found.images), 'image')} ({sizes})")
    else:
        print_sentence(f"{found.root} holds no image that can be trained on")
    for cause in found.not_used:
        print_sentence(f"not used: {_count(len(cause.files), 'file')}: {cause.reason}: {_some(cause.files)}")
    for note in found.notes:
        print_sentence(note)
    across, within = "look at these: nearly the same picture in several classes", "same picture in one class"
    for kind, groups in ((across, found.copies_across), (within, found.copies)):
        for group in groups[:SHOWN]:
            print_sentence(f"{kind}: {_some([image.name for image in group])}")
        if len(groups) > SHOWN:
            print_sentence(f"{kind}: {_count(len(groups) - SHOWN, 'more set')}")
    _print_doubts(found)
    for problem in found.problems:
        print_sentence(f"training would refuse: {problem}")


def _print_doubts(found: Inspection) -> None:
    if found.doubts is None:
        return
    share = f"{found.doubts.agreement:.0%} of the labels are predicted from the other images, by {found.described_by}"
    if not found.doubts.judged:
        largest = max(found.classes, key=lambda label: found.classes[label])
        baseline = f"always naming {largest} is right for {found.doubts.baseline:.0%}"
        # Training adds features that predict labels better, unless it refuses the images or has stored them already.
        may_help = not found.problems and found.described_by != CACHED
        advice = "; run `eaves train`, then check again" if may_help else ""
        print_sentence(f"labels are not judged: {share}, and {baseline}{advice}")
        return
    print_sentence(f"{share}; {_count(len(found.doubted), 'label')} doubtful")
    for item in found.doubted[: 2 * SHOWN]:
        print_sentence(
            f"doubtful label: {item.image.name} is labelled {item.image.label}, looks like {item.looks_like}"
        )


def _some(names: list[str] | tuple[str, ...]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
