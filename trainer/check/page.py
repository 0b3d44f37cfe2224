"""Renders the result of `eaves data check` as an HTML page with pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainer.check.inspection import CheckedImage, Inspection
from trainer.report import charts
from trainer.report.html_page import build_page, build_thumbnail

DOUBTED = 60
"""Maximum number of images with doubtful labels that the page shows."""
GROUPS = 30
"""Maximum number of sets of copies in each of the page's two lists: copies within a class, and across classes.
"""
GROUP_IMAGES = 6
"""Maximum number of images that the page shows of one set of copies, if its classes aren't more."""
FILES = 20
"""Maximum number of file names that the page lists for each reason why files are not used."""


def build_check_page(found: Inspection) -> str:
    """Return the HTML of the page that reports on the checked images."""
    most = max(found.classes.values(), default=0)
    return build_page(
        Path(__file__).with_name("check.html.j2"),
        found=found,
        total=len(found.images),
        classes=[
            {"label": label, "count": count, "chart": charts.draw_bar(count, 0, most)}
            for label, count in sorted(found.classes.items(), key=lambda item: -item[1])
        ],
        sizes=found.sizes(),
        across=_groups(found.copies_across),
        copies=_groups(found.copies),
        doubted=[{"item": item, "image": build_thumbnail(item.image.path)} for item in found.doubted[:DOUBTED]],
        shown_files=FILES,
    )


def _groups(groups: Sequence[Sequence[CheckedImage]]) -> list[list[dict[str, Any]]]:
    """Return the first images of the largest sets, each with its picture; the largest sets come first."""
    ordered = sorted(groups, key=lambda group: -len(group))[:GROUPS]
    return [
        [
            {"item": image, "image": build_thumbnail(image.path)}
            for image in group[: max(GROUP_IMAGES, len({image.label for image in group}))]
        ]
        for group in ordered
    ]
