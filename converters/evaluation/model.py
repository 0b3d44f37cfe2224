"""Defines the Protocol of an evaluated model, which a run, an artifact or a running function implements."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from eaves.errors import ArtifactError
from eaves.http_client.proxies import DIRECT, Proxies
from trainer.tensorflow_notices import native_stderr

FUNCTION_HINT = "name the URL of a function of the task classify, such as http://127.0.0.1:8480/functions/NAME"
"""Hint of the error that is raised when the server at a URL answers, but not as a function does."""
NO_LABEL = "(no label)"
"""Label of an answer in which no score reached the function's threshold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePrediction:
    """Answer of a model to one image.

    Attributes:
        label: Name of the class that the model gives the image.
        score: Score of that class, 0 to 1.
        time_ms: Milliseconds from the encoded image to the answer.
    """

    label: str
    score: float
    time_ms: float


class EvaluatedModel(Protocol):
    """A model that classifies images one after the other.

    Attributes:
        name: Name of the model, for people.
        kind: Kind of the model: `run`, `artifact` or `function`.
        labels: Class names in the order of the outputs; None when they are not known.
        trained_on: sha256 of the images that the model was trained on, hex; None when they are not known.
        run: Directory of the run; None for an artifact or a function.
        is_balanced: Whether the model is judged by its mean recall, because classes counted alike in its training; None
            when that is not known: then it is if the images' classes are unequal.
    """

    name: str
    kind: str
    labels: tuple[str, ...] | None
    trained_on: frozenset[str] | None
    run: Path | None
    is_balanced: bool | None

    def classify(self, data: bytes) -> ImagePrediction:
        """Classify one encoded image.

        Raises:
            InputError: The image can't be read, which is not the model's fault.
            EavesError: The model can't answer.
        """
        ...


@contextmanager
def open_model(place: str, proxies: Proxies = DIRECT, token_file: Path | None = None) -> Iterator[EvaluatedModel]:
    """Open the model at a path or URL.

    Args:
        place: Directory of a run or of an artifact, or the URL of a running function.
        proxies: Proxies of the process, for a URL.
        token_file: File with the bearer token that is sent to a URL; None for none.

    Raises:
        ArtifactError: `place` is none of these, or an artifact that does not classify.
        RunError: The run is damaged.
    """
    if place.startswith(("http://", "https://")):
        from converters.evaluation.function_model import open_function

        with open_function(place, proxies, token_file) as function:
            yield function
    elif (Path(place) / "manifest.json").is_file():
        from converters.evaluation.artifact_model import ArtifactModel

        yield ArtifactModel(Path(place))
    elif (Path(place) / "run.json").is_file():
        with native_stderr():  # TensorFlow's libraries write to stderr
            from converters.evaluation.run_model import RunModel

            run = RunModel(Path(place))
        yield run
    else:
        hint = "name a directory in runs/ or artifacts/, or the URL of a function"
        raise ArtifactError(f"{place} is neither a run, nor an artifact, nor a URL", hint=hint)
