"""The tasks of a function: prepare an input, run the ONNX session, convert the outputs, call handler.py.

`classify` predicts labels with scores for an image, `embed` computes a feature vector of an image, `anomaly` finds what
is unusual in an image, and `tensor` predicts numbers from numbers, such as windows of sensor readings, in the form of
`eaves.inference.json_values`.
"""

from __future__ import annotations

import threading
import time
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from eaves.artifact import Artifact, TensorSpec
from eaves.artifact.manifest import (
    ANOMALOUS,
    ANOMALY,
    EMBED,
    FEATURES,
    MAP,
    NORMAL,
    OUTPUTS,
    TENSOR,
    label_output,
    log_odds,
)
from eaves.errors import TensorError
from eaves.events import IMAGE_CLASSIFIED, IMAGE_EMBEDDED, IMAGE_INSPECTED, TENSOR_PREDICTED
from eaves.images import decoder
from eaves.inference import handler as handlers
from eaves.inference import json_values
from eaves.inference.handler import Handler
from eaves.inference.session import Runner
from functions.settings import ServeSettings

Array = npt.NDArray[Any]
Turn = Callable[[], AbstractContextManager[object]]
"""Function whose context manager waits for a turn to run the model, and holds it until the end of the block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """A model's prediction for one example.

    Attributes:
        payload: Members of the reply's JSON that depend on the task, such as `predictions`.
        attributes: Extension attributes of the reply that triggers can filter by; brokers can't filter by the reply's
            data.
        timings_ms: Milliseconds by stage: `decode`, `preprocess`, `infer`, `postprocess`; only stages that ran.
        outputs: The graph's outputs for the example.
    """

    payload: Mapping[str, Any]
    attributes: Mapping[str, str]
    timings_ms: Mapping[str, float]
    outputs: Mapping[str, Array] = field(default_factory=dict)

    def with_map(self) -> Prediction:
        """Return the prediction with the model's map, if it makes one, in its payload."""
        found = self.outputs.get(MAP)
        if found is None or found.ndim != 2:
            return self
        rows = [[float(f"{value:.3g}") for value in row] for row in found.tolist()]
        return replace(self, payload={**self.payload, MAP: rows})


class Pipeline(ABC):
    """One task of one loaded artifact: the base class of the tasks' predictors; safe to call from many threads.

    Args:
        artifact: Opened artifact.
        session: ONNX session of the artifact, or a pool of its sessions.
        settings: Settings of serving.
        handler: Handler of the artifact; an empty one changes nothing.

    Attributes:
        artifact: The served artifact.
        settings: Settings of serving.
        reply_type: Event type of a reply.
        content_types: Media types that are accepted, such as `image/*`, for messages to people.
        input: Type and shape of a batch as tensor: `image`, uint8 (n, H, W, 3) of any size, or the graph's own input.
        outputs: Types and shapes of the outputs of `run`, in this order.
    """

    reply_type: str
    content_types: tuple[str, ...]

    def __init__(
        self,
        artifact: Artifact,
        session: Runner,
        settings: ServeSettings,
        *,
        handler: Handler | None = None,
    ) -> None:
        self.artifact = artifact
        self.settings = settings
        self.input = artifact.manifest.input
        self.outputs = self._describe_outputs()
        self._session = session
        self._handler = handler or Handler()
        if self._handler.content_types:
            self.content_types = self._handler.content_types

    def accepts(self, content_type: str) -> bool:
        """Return whether a media type is accepted: by the handler's list of types if it has one, else by the task."""
        return self._handler.accepts(content_type) if self._handler.content_types else self._takes(content_type)

    def predict(self, data: bytes, *, turn: Turn = nullcontext) -> Prediction:
        """Predict one example from the bytes that were sent; `turn` waits for a turn to run the model.

        A handler.py is called within the turn too, as it may not expect more calls at a time than there are turns.

        Raises:
            InputError: When the example can't be read, or the handler reports that it is invalid.
            HandlerError: When the artifact's handler fails.
        """
        timings_ms: dict[str, float] = {}
        around, turn = self._share(turn)
        with around():
            outputs = self._answer(data, turn, timings_ms)
            start = time.perf_counter()
            if self._handler.postprocess is None:
                members, attributes = self._present(outputs)
            else:
                members = self._handler.postprocess(outputs)
                attributes = handlers.attributes(members)
                timings_ms["postprocess"] = elapsed_ms(start, time.perf_counter())
        return Prediction(payload=members, attributes=attributes, timings_ms=timings_ms, outputs=outputs)

    def run(self, example: bytes | Array, *, turn: Turn = nullcontext) -> Mapping[str, Array]:
        """Return the graph's outputs for one example, given as encoded bytes or as a tensor that fits `input`."""
        around, turn = self._share(turn)
        with around():
            return self._answer(example, turn, {})

    def _answer(self, example: bytes | Array, turn: Turn, timings_ms: dict[str, float]) -> Mapping[str, Array]:
        start = time.perf_counter()
        if not isinstance(example, bytes):
            tensor = self._example(example)
        elif self._handler.preprocess is None:
            tensor = self._prepare(example, timings_ms)
        else:
            tensor = self._handler.preprocess(example)  # it decodes too
            timings_ms["preprocess"] = elapsed_ms(start, time.perf_counter())
        with turn():
            start = time.perf_counter()
            outputs = self._session.answer(tensor[np.newaxis])
            timings_ms["infer"] = elapsed_ms(start, time.perf_counter())
        return {name: output[0] for name, output in outputs.items()}

    def _share(self, turn: Turn) -> tuple[Turn, Turn]:
        """Return what to hold around the whole prediction, and what to hold for the model's run only.

        The code of a handler.py runs within the turn: its author counts on no more calls at a time than `concurrency`.
        """
        has_code = self._handler.preprocess is not None or self._handler.postprocess is not None
        return (turn, nullcontext) if has_code else (nullcontext, turn)

    def _example(self, example: Array) -> Array:
        """Check shape and dtype of an example that a client sent as a tensor, and return it as the graph's input.

        Raises:
            TensorError: When its shape or dtype is wrong.
        """
        if not self.input.fits(example.shape) or example.dtype != self.input.dtype:
            raise TensorError(
                f"the example is {example.dtype} {example.shape}, but the model takes "
                f"{self.input.dtype} {self.input.shape[1:]}"
            )
        return example

    def _describe_outputs(self) -> tuple[TensorSpec, ...]:
        """Return the types and shapes of the outputs of `run`: by default the graph's."""
        return self.artifact.manifest.outputs

    @abstractmethod
    def _takes(self, content_type: str) -> bool:
        """Return whether the task accepts a media type when no handler decides."""

    @abstractmethod
    def _prepare(self, data: bytes, timings_ms: dict[str, float]) -> Array:
        """Convert the sent bytes to one example in the graph's dtype; add the time of each stage to `timings_ms`."""

    @abstractmethod
    def _present(self, outputs: Mapping[str, Array]) -> tuple[Mapping[str, Any], Mapping[str, str]]:
        """Return (members of the reply's JSON, extension attributes of the reply) for a model's outputs."""


class ImagePipeline(Pipeline):
    """A pipeline whose input is an image: encoded bytes, or uint8 RGB pixels of any size, which the recipe prepares."""

    content_types: tuple[str, ...] = ("image/*",)

    def __init__(
        self,
        artifact: Artifact,
        session: Runner,
        settings: ServeSettings,
        *,
        handler: Handler | None = None,
    ) -> None:
        super().__init__(artifact, session, settings, handler=handler)
        self._large = threading.Lock()  # large frames are decoded one at a time, whatever the concurrency
        self._recipe = artifact.manifest.image_recipe
        self._seen = threading.local()  # what this thread's prediction has seen of its image
        if self._handler.preprocess is None:
            self.input = TensorSpec(name="image", dtype="uint8", shape=(-1, -1, -1, 3))

    def _takes(self, content_type: str) -> bool:
        """Return whether a media type is an image's. Only decoding shows whether the image format is supported."""
        return content_type.startswith("image/")

    def _prepare(self, data: bytes, timings_ms: dict[str, float]) -> Array:
        start = time.perf_counter()
        image = decoder.load(
            data,
            at_least=(self._recipe.height, self._recipe.width),
            max_pixels=self.settings.max_pixels,
            large=self._large,
        )
        decoded = time.perf_counter()
        self._seen.window = self._recipe.window(*image.size)
        tensor = self._recipe.prepare(image)
        timings_ms["decode"] = elapsed_ms(start, decoded)
        timings_ms["preprocess"] = elapsed_ms(decoded, time.perf_counter())
        return tensor

    def _example(self, example: Array) -> Array:
        checked = super()._example(example)
        return checked if self._handler.preprocess else self._recipe.apply(checked)


class Classifier(ImagePipeline):
    """Predictor of an image's labels, in the order of the artifact's decision rule: the first one is the image's label.

    The score of a label is the calibrated probability from the graph; a later label may have a higher score.
    """

    reply_type = IMAGE_CLASSIFIED

    def _describe_outputs(self) -> tuple[TensorSpec, ...]:
        width = len(self.artifact.manifest.labels)
        scores = (TensorSpec(name=name, shape=(-1, width)) for name in reversed(OUTPUTS))
        return TensorSpec(name="label", dtype="object", shape=(-1,)), *scores

    def run(self, example: bytes | Array, *, turn: Turn = nullcontext) -> Mapping[str, Array]:
        """Return `label`, `probabilities` and `logits` of one image, which is encoded or (H, W, 3) uint8, RGB."""
        outputs = super().run(example, turn=turn)
        return {"label": np.array(self._label(outputs), object), **outputs}

    def _label(self, outputs: Mapping[str, Array]) -> str:
        manifest = self.artifact.manifest
        return manifest.labels[int(manifest.decision.choose(outputs["probabilities"]))]

    def _present(self, outputs: Mapping[str, Array]) -> tuple[Mapping[str, Any], Mapping[str, str]]:
        """Return the labels whose score reaches the threshold and the margin, and the reply's attributes.

        The margin is by how much the rule's number for the chosen label exceeds the next one, in shares of their sum.
        The list is empty, and there is no attribute `label`, if the chosen label's score is below the threshold. The
        attribute `confidence` describes that score in any case.
        """
        probabilities = outputs["probabilities"]
        order = self.artifact.manifest.decision.rank(probabilities)[: self.settings.top_k]
        scored = [(self.artifact.manifest.labels[index], round(float(probabilities[index]), 6)) for index in order]
        best, score = scored[0]
        attributes = {"confidence": "high" if score >= self.settings.high_confidence else "low"}
        further = {
            "margin": find_margin(self.artifact.manifest.decision.weigh(probabilities)),
            **self._rank_score(probabilities, int(order[0])),
        }
        if score < self.settings.threshold:
            return {"predictions": [], **further}, attributes
        kept = [(label, score) for label, score in scored if score >= self.settings.threshold]
        predictions = [{"label": label, "score": score} for label, score in kept]
        return {"predictions": predictions, **further}, {**attributes, "label": best}

    def _rank_score(self, probabilities: Array, best: int) -> dict[str, Any]:
        """Return where the image's score lies among those of the held-out images that got the same label."""
        known = self.artifact.manifest.label_scores
        if not known or not known[best].edges:
            return {}
        odds = log_odds(float(probabilities[best]), float(np.delete(probabilities, best).sum()))
        # The same image has the same number on each replica; the last digits differ between processors.
        spread = zlib.crc32(np.round(probabilities, 4).tobytes()) / 2**32
        about = {"label": self.artifact.manifest.labels[best], "groups": known[best].groups}
        return {"calibration": {**about, "rank": round(known[best].rank(odds, spread), 6)}}


class Inspector(Classifier):
    """Predictor of whether an image is normal, or anomalous: a number of the model's map is above the threshold."""

    reply_type = IMAGE_INSPECTED

    @property
    def _threshold(self) -> float:
        return self.settings.anomaly_threshold or self.artifact.manifest.anomaly_rule.threshold

    def _describe_outputs(self) -> tuple[TensorSpec, ...]:
        own = (spec for spec in self.artifact.manifest.outputs if spec.name == MAP)
        return *super()._describe_outputs(), *own

    def _label(self, outputs: Mapping[str, Array]) -> str:
        return ANOMALOUS if np.any(outputs[MAP] > self._threshold) else NORMAL

    def _present(self, outputs: Mapping[str, Array]) -> tuple[Mapping[str, Any], Mapping[str, str]]:
        """Return label, score, p-value, margin and boxes, and the reply's attributes.

        The margin is the distance of the p-value from that of the threshold.
        The label is doubtful if fewer than 5 in 100 good images score as high as this normal one, or if the score is
        near the threshold: within a tenth of the threshold's distance from the median of good images.
        """
        rule, threshold, label = self.artifact.manifest.anomaly_rule, self._threshold, self._label(outputs)
        score = float(outputs[MAP].max())
        p_value = rule.p_value(score)
        margin = abs(threshold - rule.calibration[len(rule.calibration) // 2]) / 10
        is_doubtful = abs(score - threshold) <= margin or (label == NORMAL and p_value < 0.05)
        members = {
            "label": label,
            "score": _round(score),
            "p_value": _round(p_value),
            "margin": _round(abs(p_value - rule.p_value(threshold))),
            "threshold": _round(threshold),
            "calibration": {"images": len(rule.calibration), "groups": rule.groups},
            # A handler.py that decodes the image doesn't say which part of it the model has seen.
            "boxes": find_boxes(outputs[MAP], threshold, getattr(self._seen, "window", (0.0, 0.0, 1.0, 1.0))),
        }
        return members, {"label": label, "confidence": "low" if is_doubtful else "high"}


def find_margin(weighed: Array) -> float:
    """Return the difference of the largest two of one image's numbers, (labels,), in shares of their sum.

    It is 0 to 1: 0 for a tie, 1 for a single label.
    """
    second, first = [0.0, *np.sort(weighed).tolist()][-2:]
    return round((first - second) / total, 6) if (total := float(weighed.sum())) > 0 else 0.0


MAX_BOXES = 20


def find_boxes(grid: Array, threshold: float, window: tuple[float, float, float, float]) -> list[list[float]]:
    """Return the boxes around connected positions of a map with numbers above a threshold, highest score first.

    Args:
        grid: Map, (h, w) float32.
        threshold: Number that each position in a box exceeds.
        window: Result of `Recipe.window`.

    Returns:
        At most `MAX_BOXES` of [left, top, width, height, score] in shares of the image's width and height.
    """
    rest = set(map(tuple, np.argwhere(grid > threshold).tolist()))
    boxes = []
    while rest:
        region = [rest.pop()]
        for row, column in region:  # it grows
            near = rest & {(row + down, column + across) for down in (-1, 0, 1) for across in (-1, 0, 1)}
            rest -= near
            region += near
        cells = np.array(region)
        sides = np.array([cells.min(axis=0), cells.max(axis=0) + 1]) / grid.shape
        begin, end = np.clip(window[:2] + sides[:, ::-1] * window[2:], 0, 1)
        if np.all(begin < end):  # else it is in the grey beside a padded image
            box = np.round([*begin, *(end - begin)], 4).tolist()
            boxes.append([*box, _round(grid[tuple(cells.T)].max())])
    return sorted(boxes, key=lambda box: (-box[4], box))[:MAX_BOXES]


def _round(number: float) -> float:
    return float(f"{number:.6g}")


class Embedder(ImagePipeline):
    """Predictor of an image's feature vector, not normalised: divide it by its length for the cosine similarity."""

    reply_type = IMAGE_EMBEDDED

    def _present(self, outputs: Mapping[str, Array]) -> tuple[Mapping[str, Any], Mapping[str, str]]:
        vector = json_values.numbers(outputs[FEATURES])
        return {"embedding": vector, "dimensions": len(vector)}, {}


class TensorPredictor(Pipeline):
    """Predictor of a graph's outputs by name; if the artifact has labels, also of the most probable label."""

    reply_type = TENSOR_PREDICTED
    content_types: tuple[str, ...] = ("application/json",)

    def _takes(self, content_type: str) -> bool:
        return content_type == "application/json" or content_type.endswith("+json")

    def _prepare(self, data: bytes, timings_ms: dict[str, float]) -> Array:
        start = time.perf_counter()
        tensor = json_values.parse_tensor(data, self.artifact.manifest.input)
        timings_ms["decode"] = elapsed_ms(start, time.perf_counter())
        return tensor

    def _present(self, outputs: Mapping[str, Array]) -> tuple[Mapping[str, Any], Mapping[str, str]]:
        try:
            members: dict[str, Any] = {"outputs": {name: json_values.numbers(value) for name, value in outputs.items()}}
        except ValueError as error:  # such as a logarithm of a negative number: every replica would fail alike
            raise TensorError(f"the model's output for these values can't be put into a reply: {error}") from error
        manifest = self.artifact.manifest
        scores = label_output(manifest.labels, manifest.outputs)
        if not scores:
            return members, {}
        label = manifest.labels[int(np.argmax(outputs[scores]))]
        return {"label": label, **members}, {"label": label}


def elapsed_ms(start: float, end: float) -> float:
    """Return the milliseconds between two readings of `perf_counter`."""
    return round((end - start) * 1000, 3)


def open_predictor(artifact: Artifact, session: Runner, settings: ServeSettings, handler: Handler) -> Pipeline:
    """Open the predictor for an artifact's task."""
    tasks: dict[str, Callable[..., Pipeline]] = {TENSOR: TensorPredictor, EMBED: Embedder, ANOMALY: Inspector}
    return tasks.get(artifact.manifest.task, Classifier)(artifact, session, settings, handler=handler)
