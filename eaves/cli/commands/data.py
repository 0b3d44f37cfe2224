"""The command `eaves data`, which checks labelled images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from eaves.cli import CommandGroup
from eaves.cli.labelled_data import build_bars, find_image_cache, find_labelled_data
from eaves.cli.output import Columns, describe_count, output_option, print_rows, print_sentence, print_value
from eaves.cli.project import load_workspace
from eaves.cli.site import FILE

if TYPE_CHECKING:
    from trainer.check import Inspection

COLUMNS: Columns = {"label": "CLASS", "images": "IMAGES"}
SHOWN = 3
"""Maximum number of file names in one line of text; JSON lists all of them."""


@click.group(cls=CommandGroup)
def command() -> None:
    """Check labelled images before training."""


@command.command()
@click.argument("path", required=False)
@output_option
def check(path: str | None, form: str) -> None:
    """Report what training finds in PATH: classes, copies, unused files and doubtful labels.

    PATH is a path or URI of a folder with one subfolder of images per class, a manifest (.csv) or an archive.
    Without PATH, it is data.path of eaves.yaml. The command changes no image. It ends with exit code 1 when training
    would refuse the images.
    """
    if path is None:
        path = str(load_workspace(Path(FILE), needs_data=True).project.data.path)
    from trainer.check import inspect_data
    from trainer.run.run_location import FEATURES
    from trainer.storage import open_store
    from trainer.tensorflow_notices import prepare_tensorflow

    prepare_tensorflow()
    progress = build_bars()
    place, faults = find_labelled_data(path, progress)
    features = open_store(find_image_cache() / FEATURES)
    found = inspect_data(place, features=features, progress=progress, faults=faults)
    if form == "table":
        _print(found)
    else:
        print_value(asdict(found), form)
    if found.problems:
        click.get_current_context().exit(1)


def _print(found: Inspection) -> None:
    if found.classes:
        print_rows([{"label": label, "images": count} for label, count in found.classes.items()], COLUMNS, "table")
    if found.images:
        print_sentence(describe_count(found.images, "image"))
    else:
        print_sentence(f"{found.root} holds no image that can be trained on")
    for cause in found.not_used:
        print_sentence(f"not used: {describe_count(len(cause.files), 'file')}: {cause.reason}: {_some(cause.files)}")
    for note in found.notes:
        print_sentence(note)
    across, within = "look at these: nearly the same picture in several classes", "same picture in one class"
    for kind, groups in ((across, found.copies_across_classes), (within, found.copies)):
        for group in groups[:SHOWN]:
            print_sentence(f"{kind}: {_some(group)}")
    if found.judgement:
        print_sentence(found.judgement)
    for one in found.doubtful_labels[: 2 * SHOWN]:
        print_sentence(f"doubtful label: {one['file']} is labelled {one['label']}, looks like {one['looks_like']}")
    for problem in found.problems:
        print_sentence(f"training would refuse: {problem}")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
