"""What is evaluated: a run, an artifact or a running function, behind one Protocol."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from eaves.errors import ArtifactError
from eaves.http_client.proxies import DIRECT, Proxies
from trainer.tensorflow_notices import native_stderr

FUNCTION_HINT = "give the URL of a function that classifies, such as http://127.0.0.1:8480/functions/NAME"
"""Hint where a URL answers, but not as a function does."""
NO_LABEL = "(no label)"
"""Stands for the answer of a function whose threshold no score reached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePrediction:
    """What a model says of one image.

    Attributes:
        label: The class with the best score.
        score: Its score, 0 to 1.
        time_ms: Milliseconds from the encoded image to the answer.
    """

    label: str
    score: float
    time_ms: float


class EvaluatedModel(Protocol):
    """A model that can be asked about images, one after the other.

    Attributes:
        name: For people.
        kind: `run`, `artifact` or `function`.
        labels: The classes it knows, in the order of its outputs; None when it doesn't tell.
        trained_on: sha256 of the images that it was trained on, hex; None when it doesn't tell.
        run: Directory of the run; None when it is an artifact or a function.
    """

    name: str
    kind: str
    labels: tuple[str, ...] | None
    trained_on: frozenset[str] | None
    run: Path | None

    def classify(self, data: bytes) -> ImagePrediction:
        """Answer one encoded image.

        Raises:
            InputError: When the image can't be read; the model is not to blame.
            EavesError: When the model can't answer.
        """
        ...


@contextmanager
def open_model(place: str, proxies: Proxies = DIRECT) -> Iterator[EvaluatedModel]:
    """Open what `place` names.

    Args:
        place: Directory of a run or of an artifact, or the URL of a running function.
        proxies: Proxies of the process, for a URL.

    Raises:
        ArtifactError: When it is none of these, or an artifact that does not classify.
        RunError: When the run is damaged.
    """
    if place.startswith(("http://", "https://")):
        from converters.evaluation.function_model import open_function

        with open_function(place, proxies) as function:
            yield function
    elif (Path(place) / "manifest.json").is_file():
        from converters.evaluation.artifact_model import ArtifactModel

        yield ArtifactModel(Path(place))
    elif (Path(place) / "run.json").is_file():
        with native_stderr():  # TensorFlow's libraries talk there
            from converters.evaluation.run_model import RunModel

            run = RunModel(Path(place))
        yield run
    else:
        hint = "name a directory in runs/ or artifacts/, or the URL of a function"
        raise ArtifactError(f"{place} is neither a run, nor an artifact, nor a URL", hint=hint)
