"""Asks a function about an artifact's golden images, and compares its answers with the recorded ones."""

from __future__ import annotations

from dataclasses import dataclass

from eaves.artifact import Artifact, load_golden
from eaves.console.backend import Backend
from eaves.console.catalog.artifact_page import GoldenRow
from eaves.console.catalog.photos import read_golden
from eaves.console.trial.outcome import describe_answer
from eaves.console.trial.photo import build_photo_event
from eaves.errors import EavesError

ASKED = 24
"""Maximum number of golden images that a function is asked about at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducedAnswer:
    """What a function says now about one golden image.

    Attributes:
        text: The answer, or why there is none.
        is_same: Whether it is the recorded answer.
    """

    text: str
    is_same: bool


def ask_golden(
    backend: Backend, function: str, site: str, artifact: Artifact, rows: tuple[GoldenRow, ...]
) -> dict[int, ProducedAnswer]:
    """Ask a function about the golden images, one after the other.

    Args:
        backend: The platform that runs the function.
        function: Name of the function.
        site: Name of the site.
        artifact: The artifact with the images.
        rows: The images with their recorded answers.

    Returns:
        The answer to each image by its position in the artifact's index, the first `ASKED` images only.
    """
    cases = load_golden(artifact)
    return {
        row.number: _ask(backend, function, site, read_golden(artifact, cases[row.number]), row) for row in rows[:ASKED]
    }


def _ask(backend: Backend, function: str, site: str, image: bytes | None, row: GoldenRow) -> ProducedAnswer:
    if image is None:
        return ProducedAnswer(text="the image is missing or has changed", is_same=False)
    try:
        outcome = describe_answer("", backend.invoke(function, build_photo_event(image, "golden image", site)))
    except EavesError as error:
        return ProducedAnswer(text=error.message[:200], is_same=False)
    if outcome.is_fault or not outcome.predictions:
        return ProducedAnswer(text=outcome.detail or outcome.title, is_same=False)
    best = outcome.predictions[0]
    return ProducedAnswer(text=outcome.title, is_same=best.label == row.answer)
