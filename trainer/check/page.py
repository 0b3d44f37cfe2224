"""The page of `eaves data check`, for people: what to look at, with pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainer.check.inspection import CheckedImage, Inspection
from trainer.report import charts
from trainer.report.html_page import build_page, build_thumbnail

DOUBTED = 60
"""Images of doubtful labels that are shown."""
GROUPS = 30
"""Sets of copies that are shown, of each kind."""
GROUP_IMAGES = 6
"""Images that are shown of one set."""
FILES = 20
"""File names that are listed of each cause."""


def build_check_page(found: Inspection) -> str:
    """The page's HTML."""
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
    """The first images of the first sets, each with its picture; the largest sets first."""
    ordered = sorted(groups, key=lambda group: -len(group))[:GROUPS]
    return [
        [{"item": image, "image": build_thumbnail(image.path)} for image in group[:GROUP_IMAGES]] for group in ordered
    ]
