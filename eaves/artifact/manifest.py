"""The manifest: one frozen value with all metadata of an artifact, and its JSON form.

`files` lists every other file with its size and sha256, so the sha256 of manifest.json identifies the whole artifact.
That is the artifact digest in replies and deployments. The manifest holds no timestamps and no paths of the machine;
its floats are those of the machine that converted the model.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from eaves.base.strict_json import parse_json
from eaves.config import SettingsLayer, build, setting
from eaves.errors import ArtifactError, ConfigError
from eaves.recipe import Recipe, parse_recipe

if TYPE_CHECKING:
    import numpy.typing as npt


INT8, FP32 = "int8", "fp32"
LABELS, AGREEMENT, NONE = "labels", "agreement", "none"
"""Kinds of evidence for an int8 graph: accuracy on labelled images, agreement with the fp32 graph, or none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """Proof that the converted model gives the trained model's outputs on real images, from encoded bytes to logits."""

    images: int = setting(0, "Number of images on which the two models were compared.", minimum=0)
    max_abs_error: float = setting(0.0, "Largest absolute difference between the two models in one logit.", minimum=0)
    max_abs_error_probabilities: float = setting(
        0.0, "Largest absolute difference between the two models in one probability.", minimum=0
    )
    max_rel_error: float = setting(
        0.0, "Largest difference of a logit, relative to the largest logit of the same image.", minimum=0
    )
    top1_agreement: float = setting(
        0.0, "Share of images for which both models predict the same label.", minimum=0, maximum=1
    )
    tolerance: float = setting(
        0.0,
        "Largest absolute difference allowed: in logits and probabilities for fp32, in probabilities for int8.",
        minimum=0,
    )
    min_agreement: float = setting(1.0, "Smallest share of equal labels that passes.", minimum=0, maximum=1)
    passed: bool = setting(False, "Result of the comparison; an artifact that fails is never written.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One row of the int8 table: a candidate of the search. Only the chosen candidate's accuracy is measured."""

    kept_fp32: tuple[str, ...] = setting((), "Layers kept in fp32, besides the classification head.")
    judged: bool = setting(
        True, "True if this trial was judged; only judged trials have accuracy, interval, agreement and drop."
    )
    picking_agreement: float = setting(
        0.0,
        "Share of the training images for which this trial predicts fp32's label; it selects the trial that is judged.",
        minimum=0,
        maximum=1,
    )
    accuracy: float = setting(
        0.0, "Share of the labelled images that this trial classifies correctly.", minimum=0, maximum=1
    )
    interval_95: tuple[float, ...] = setting(
        (), "95 % confidence interval of the accuracy: low, high.", minimum=0, maximum=1
    )
    agreement: float = setting(0.0, "Share of images for which this trial predicts fp32's label.", minimum=0, maximum=1)
    drop: float = setting(0.0, "Accuracy of fp32 minus accuracy of this trial.", minimum=-1, maximum=1)
    size_bytes: int = setting(0, "Size of this trial's weights and graph, in bytes.", minimum=0)

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield the path and message of each fault that involves several settings."""
        yield from _interval_faults("interval_95", self.interval_95)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Evidence for the chosen int8 graph, from images that were not trained on, with 95 % confidence (one-sided)."""

    kind: str = setting(
        NONE,
        "Measure that decided: the accuracy on `labels`, the `agreement` with fp32, or nothing.",
        choices=(NONE, LABELS, AGREEMENT),
    )
    passed: bool = setting(False, "True if the measurements are enough to ship int8 without a person's decision.")
    labelled_images: int = setting(0, "Number of labelled images on which both graphs were run.", minimum=0)
    lost: int = setting(0, "Number of labelled images that fp32 classifies correctly and int8 wrongly.", minimum=0)
    gained: int = setting(0, "Number of labelled images that int8 classifies correctly and fp32 wrongly.", minimum=0)
    drop: float = setting(
        0.0, "Accuracy, or mean recall, lost by int8; negative if int8 is better.", minimum=-1, maximum=1
    )
    drop_bound_95: float = setting(1.0, "Upper bound of the loss; negative if int8 is better.", minimum=-1, maximum=1)
    images: int = setting(0, "Number of images on which both graphs were run, with and without labels.", minimum=0)
    agreement: float = setting(
        0.0,
        "Share of the compared images, with and without labels, for which both graphs predict the same label.",
        minimum=0,
        maximum=1,
    )
    agreement_bound_95: float = setting(0.0, "Lower confidence bound of the agreement.", minimum=0, maximum=1)
    min_agreement: float = setting(0.0, "Lower bound that the agreement must reach.", minimum=0, maximum=1)
    classes_beyond: tuple[str, ...] = setting((), "Classes whose accuracy drops by more than one class may lose.")
    missing_labelled: int = setting(
        0,
        "More labelled images needed to show that the drop is allowed; 0 if none are "
        "needed, or if more would not help.",
        minimum=0,
    )
    missing_images: int = setting(
        0, "More images, labelled or not, needed to judge the agreement; 0 if the labels suffice.", minimum=0
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantisation:
    """Whether the artifact ships the int8 graph, and the measurements behind that decision."""

    asked: str = setting(FP32, "Precision that was requested.", choices=("auto", FP32, INT8))
    shipped: bool = setting(False, "True if the artifact's graph is the int8 one.")
    reason: str = setting("", "Reason for the decision, in one sentence.")
    images: int = setting(0, "Number of labelled images that int8 was judged on.", minimum=0)
    data_digest: str = setting("", "SHA-256 of the list of the labelled images that int8 was judged on, in hex.")
    accuracy_fp32: float = setting(
        0.0, "Accuracy of fp32 on the labelled images that int8 was judged on.", minimum=0, maximum=1
    )
    interval_95_fp32: tuple[float, ...] = setting(
        (), "95 % confidence interval of the accuracy of fp32: low, high.", minimum=0, maximum=1
    )
    size_bytes_fp32: int = setting(0, "Size of the fp32 weights and graph, in bytes.", minimum=0)
    max_accuracy_drop: float = setting(
        0.0,
        "Largest accuracy drop that may ship; it is compared with the upper bound of the drop.",
        minimum=0,
        maximum=1,
    )
    evidence: Evidence = setting(Evidence, "Evidence that the decision rests on.")
    trials: tuple[Trial, ...] = setting(
        (), "Trials in the order they were made; the judged trial is the last, and it is what ships if int8 ships."
    )
    picking_images: int = setting(0, "Number of training images that were used to select one of the trials.", minimum=0)
    calibration_images: int = setting(0, "Number of images on which the activation ranges were measured.", minimum=0)
    calibration_key: str = setting("", "Key of the calibration: a conversion with the same key reuses it.")

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield the path and message of each fault that involves several settings."""
        yield from _interval_faults("interval_95_fp32", self.interval_95_fp32)


def _interval_faults(name: str, interval: tuple[float, ...]) -> Iterator[tuple[str, str]]:
    if interval and (len(interval) != 2 or interval[0] > interval[1]):
        yield name, f"must be two numbers, low and high (got {list(interval)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRule:
    """The rule that chooses an image's label from its scores: the largest product of score and label weight."""

    label_weights: tuple[float, ...] = setting(
        (),
        "Weight of each label, in the order of `labels`, above 0; the label of an image has the largest product of "
        "score and weight. Empty: the label has the highest score.",
    )

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield the path and message of each weight that is not above 0."""
        for index, weight in enumerate(self.label_weights):
            if weight <= 0:
                yield f"label_weights[{index}]", f"must be > 0 (got {weight})"

    def weigh(self, probabilities: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the numbers, (..., labels), of which the largest decides, for scores of the same shape."""
        return probabilities * self.label_weights if self.label_weights else probabilities

    def choose(self, probabilities: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the index of each image's label, (...), for scores (..., labels)."""
        chosen: npt.NDArray[Any] = self.weigh(probabilities).argmax(axis=-1)
        return chosen

    def rank(self, probabilities: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the indices of one image's labels, (labels,), the chosen one first; `probabilities` is (labels,)."""
        ranked: npt.NDArray[Any] = (-self.weigh(probabilities)).argsort(kind="stable")
        return ranked


GAUSSIAN, DIAGONAL, PATCHES = METHODS = ("gaussian", "diagonal", "patches")
"""Methods of the task `anomaly`; see `trainer.model.anomaly`."""
MIN_PROMISE_GROUPS = 59
"""Smallest number of groups from which a largest share of false alarms is promised: 5 in 100, as 0.95 ** 59 < 0.05."""
MAX_CALIBRATION = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class AnomalyRule:
    """The rule that calls an image anomalous, from its score: the largest number of its map."""

    good: str = setting(MISSING, "Name of the class of good images in the training data.")
    method: str = setting(MISSING, "Kind of the model of good images.", choices=METHODS)
    threshold: float = setting(MISSING, "Score above which an image is anomalous.")
    calibration: tuple[float, ...] = setting(
        MISSING,
        f"Ascending scores of good images that the model wasn't fitted to; of more than {MAX_CALIBRATION:,} those at "
        "evenly spaced ranks.",
    )
    groups: int = setting(MISSING, "Number of groups of these images.", minimum=1)
    false_alarms: float = setting(
        0.0,
        "Largest share of good images with an alarm that the threshold promises; 0 if none is promised.",
        minimum=0,
        maximum=1,
    )
    confidence: float = setting(0.0, "Confidence of that promise; 0 if there is none.", minimum=0, maximum=1)

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield the path and message of each fault that involves several settings."""
        if not 1 <= len(self.calibration) <= MAX_CALIBRATION or not all(map(math.isfinite, self.calibration)):
            yield "calibration", f"must have 1 to {MAX_CALIBRATION} finite numbers (got {len(self.calibration)})"
        if list(self.calibration) != sorted(self.calibration):
            yield "calibration", "must be in ascending order"
        # At most a share p of good images scores above the largest score of n groups, with confidence 1 - (1 - p) ** n.
        too_few = (1 - self.false_alarms) ** self.groups > 1 - self.confidence + 1e-6
        if too_few or (self.confidence > 0) != (self.false_alarms > 0):
            yield "false_alarms", f"{self.false_alarms:g} can't be promised from {self.groups} groups"

    def p_value(self, score: float) -> float:
        """Return the chance that a good image scores at least as high, from the scores of the calibration images."""
        above = len(self.calibration) - bisect_left(self.calibration, score)
        return (1 + above) / (len(self.calibration) + 1)

    def promise(self) -> str:
        """Return what is known about alarms for good images, as the text of a sentence."""
        if not self.false_alarms:
            needed = f": it takes {MIN_PROMISE_GROUPS} groups of good images, and there are {self.groups}"
            reason = needed if self.groups < MIN_PROMISE_GROUPS else ""
            return f"how many good images raise an alarm is not promised{reason}"
        per = 100 if self.false_alarms >= 0.01 else 1000
        return (
            f"at most {math.ceil(self.false_alarms * per * 10 - 1e-6) / 10:g} in {per:,} good images raise an alarm, "
            f"with {self.confidence * 100:g} % confidence, from {self.groups:,} groups of good images"
        )


MAX_EDGES = 7
"""Maximum number of edges of a label's scores: the octiles."""
MAX_ODDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelScores:
    """Scores of the held-out images that the model gives one label, as logarithms of their odds."""

    edges: tuple[float, ...] = setting(
        (), f"Ascending quantiles at equal steps, {MAX_EDGES} from as many images on, else one for each image."
    )
    groups: int = setting(0, "Number of groups of these images.", minimum=0)

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield the path and message of each fault that involves several settings."""
        if len(self.edges) > MAX_EDGES or bool(self.edges) != bool(self.groups):
            yield "edges", f"must have at most {MAX_EDGES} numbers, and some if there are groups"
        if list(self.edges) != sorted(self.edges) or not all(map(math.isfinite, self.edges)):
            yield "edges", "must be finite and in ascending order"

    def rank(self, odds: float, spread: float) -> float:
        """Return the share of these images with a lower score, 0 to 1; the shares of an equal distribution are equal.

        Args:
            odds: Logarithm of the score's odds.
            spread: Number of the image from 0 to below 1, equally distributed, which decides between edges, and among
                equal ones.
        """
        below, not_above = bisect_left(self.edges, odds), bisect_right(self.edges, odds)
        within = spread * (not_above - below + 1)
        if not not_above:  # an image that is less certain ranks lower
            within = math.exp(odds - self.edges[0])
        return (below + within) / (len(self.edges) + 1)


def log_odds(score: float, others: float) -> float:
    """Return the logarithm of a score's odds, given the sum of the other labels' scores; at most `MAX_ODDS` from 0."""
    least = math.exp(-MAX_ODDS)
    return min(MAX_ODDS, max(-MAX_ODDS, math.log(max(score, least) / max(others, least))))


SCHEMA_VERSION = 2
MAX_LABELS = 100_000
MAX_TEXT = 256
"""Maximum number of characters in a label, in a model's name and in its version. Each is an attribute of every reply,
and thus an HTTP header."""
CLASSIFY, EMBED, TENSOR, ANOMALY = "classify", "embed", "tensor", "anomaly"
LOGITS, PROBABILITIES = "logits", "probabilities"
OUTPUTS = (LOGITS, PROBABILITIES)
"""Outputs of every model that takes images."""
FEATURES = "features"
"""Name of the output that the task `embed` has in addition to the outputs of `classify`: (N, D) float32, the features
from which the classification head computes the labels."""
OPTIONAL = ("anomaly", "features", "label_scores")
"""Fields of a manifest that are left out if they are empty."""
NORMAL, ANOMALOUS = "normal", "anomalous"
"""Labels of a model with the task `anomaly`, in this order."""
MAP = "map"
"""Name of the output that the task `anomaly` has in addition: (N, h, w) float32, how unusual an image is at each
position of a grid. The image's score is the largest number; logits are 0 and (score - threshold) / spread."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """Size and digest of one file of the artifact."""

    size_bytes: int = setting(0, "Bytes.", minimum=0)
    sha256: str = setting("", "SHA-256 of the file's content, in hex.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One input or output of the graph; -1 in the shape is the batch dimension or another free axis."""

    name: str = setting("", "Name of the tensor in the graph.")
    dtype: str = setting("float32", "Element type, as numpy names it.")
    shape: tuple[int, ...] = setting((), "Size of each axis; -1 means any size.")

    def fits(self, example: tuple[int, ...]) -> bool:
        """Return whether one example, without the batch dimension, may have this shape."""
        wanted = self.shape[1:]
        return len(example) == len(wanted) and all(
            want in (-1, size) for size, want in zip(example, wanted, strict=True)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The model that was converted."""

    route: str = setting(
        "run", "Kind of the source that was converted.", choices=("run", "keras", "saved_model", "onnx")
    )
    digest: str = setting("", "SHA-256 of the source, in hex: of a run's run.json, or of the model's files.")
    weights: str = setting("", "Origin of the published weights that the run's training began with, if there are any.")
    weights_sha256: str = setting("", "SHA-256 of the file of weights that the run's training began with, in hex.")
    figure: str = setting("", "Figure that the run's model is judged by: accuracy or mean recall; empty: not known.")
    samples: int = setting(0, "Number of samples of a declared model, in folders by label; 0 for a run.", minimum=0)
    samples_right: int = setting(0, "Number of these that the model gives the label of their folder.", minimum=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The metadata of an artifact."""

    name: str = setting(MISSING, "Name of the model.")
    version: str = setting(MISSING, "Version of the model, taken from the run; versions sort by the time of training.")
    labels: tuple[str, ...] = setting(
        MISSING, "Class labels in the order of the model's outputs; a tensor model may have none."
    )
    input: TensorSpec = setting(MISSING, "Input tensor of the graph.")
    outputs: tuple[TensorSpec, ...] = setting(
        MISSING,
        "Output tensors of the graph: logits and probabilities, plus features for embed or a map for anomaly; a "
        "tensor model has its own.",
    )
    recipe: Recipe | None = setting(
        MISSING, "Steps that turn an encoded image into the input tensor; null for tensor models."
    )
    parity: Parity = setting(MISSING, "Measured difference between the original model and the converted graph.")
    files: Mapping[str, FileEntry] = setting(
        MISSING, "Size and digest of every other file of the artifact, by relative path."
    )
    golden_tolerance: float = setting(
        MISSING,
        "Largest absolute difference of a logit that is allowed when the golden "
        "images are replayed on the target machine.",
        minimum=0,
        maximum=1000,
    )
    precision: str = setting(FP32, "Precision of the graph's weights and arithmetic.", choices=(FP32, INT8))
    quantisation: Quantisation = setting(Quantisation, "Decision whether int8 ships, with the measurements behind it.")
    optimise_on_open: bool = setting(True, "True if onnxruntime optimises model.onnx when it opens the graph.")
    source: Source = setting(Source, "Kind and digest of what was converted.")
    task: str = setting(
        CLASSIFY,
        "Task of the model: what a request holds, and what the outputs mean.",
        choices=(CLASSIFY, EMBED, TENSOR, ANOMALY),
    )
    temperature: float = setting(
        1.0,
        "Temperature that divides the logits before softmax; for information, because the graph already applies it.",
    )
    decision: DecisionRule = setting(DecisionRule, "Rule that chooses the label from the probabilities.")
    anomaly: AnomalyRule | None = setting(
        None, "Rule that calls an image anomalous; only for the task anomaly. The key is left out for other tasks."
    )
    label_scores: tuple[LabelScores, ...] = setting(
        (),
        "Scores of held-out images for each label, in the order of `labels`, which show later whether the images have "
        "changed; only for the task classify. The key is left out if they are not known.",
    )
    features: str = setting(
        "",
        "Name of the float32 tensor in the graph that the head on a frozen backbone reads; the features are its last "
        "axis. The key is left out if there is none.",
    )
    opset: int = setting(0, "ONNX operator set of the graph.", minimum=0)
    licences: Mapping[str, str] = setting(
        dict,
        "Licences, as SPDX expression or licence text: of the `model`, and of the `weights` that its training began "
        "with.",
    )
    toolchain: Mapping[str, str] = setting(
        dict, "Versions of the software that made the artifact, by distribution name."
    )
    schema_version: int = setting(SCHEMA_VERSION, "Version of the manifest's format.")

    def faults(self) -> Iterator[tuple[str, str]]:
        """Return faults that concern several fields, for `eaves.config.build` to report."""
        for name, text in (("name", self.name), ("version", self.version)):
            if not is_printable(text):
                yield name, f"must be printable, 1 to {MAX_TEXT} characters (got {text[:80]!r})"
        for index, label in enumerate(self.labels):
            if not is_printable(label):
                yield f"labels[{index}]", f"must be printable, 1 to {MAX_TEXT} characters (got {label[:80]!r})"
        if len(set(self.labels)) != len(self.labels):
            twice = next(label for label, count in Counter(self.labels).items() if count > 1)
            yield "labels", f"must be unique ({twice[:80]!r} occurs twice)"
        yield from self._task_faults()
        if self.decision.label_weights and len(self.decision.label_weights) != len(self.labels):
            counts = f"{len(self.decision.label_weights)} for {len(self.labels)} labels"
            yield "decision.label_weights", f"must be empty, or have one number for each label (got {counts})"
        if self.label_scores and (self.task != CLASSIFY or len(self.label_scores) != len(self.labels)):
            yield "label_scores", f"must have one entry for each label, and be empty unless the task is {CLASSIFY}"
        if self.temperature <= 0:
            yield "temperature", f"must be > 0 and finite (got {self.temperature})"
        if self.quantisation.shipped != (self.precision == INT8):
            yield "precision", f"is {self.precision}, but quantisation.shipped is {self.quantisation.shipped}"

    def _task_faults(self) -> Iterator[tuple[str, str]]:
        if not self.labels and self.task != TENSOR:
            yield "labels", "must be a list with at least one string"
        scores = {output.name: output.shape[-1:] for output in self.outputs if output.name in OUTPUTS}
        if self.task != TENSOR and scores != dict.fromkeys(OUTPUTS, (len(self.labels),)):
            yield "outputs", f"must have one number for each label in {' and '.join(OUTPUTS)}"
        if self.task == EMBED and FEATURES not in {output.name for output in self.outputs}:
            yield "outputs", f"must name {FEATURES} if the task is {EMBED}"
        if self.task == TENSOR and (not self.outputs or self.precision == INT8):
            yield "task", f"task {TENSOR} needs outputs, and precision {FP32}"
        if (self.task == ANOMALY) != (self.anomaly is not None):
            yield "anomaly", f"must be given if the task is {ANOMALY}, and only then"
        if self.task == ANOMALY:
            if self.labels != (NORMAL, ANOMALOUS) or self.decision.label_weights:
                yield "labels", f"must be {NORMAL} and {ANOMALOUS}, without weights, if the task is {ANOMALY}"
            if not any(output.name == MAP and len(output.shape) == 3 for output in self.outputs):
                yield "outputs", f"must name {MAP}, with three axes, if the task is {ANOMALY}"

    @property
    def image_recipe(self) -> Recipe:
        """The recipe of a model that takes images.

        Raises:
            ArtifactError: When the model takes no images.
        """
        if self.recipe is None:
            raise ArtifactError(f"the model {self.name} has the task {self.task} and takes no images")
        return self.recipe

    @property
    def anomaly_rule(self) -> AnomalyRule:
        """The rule of a model that finds anomalies.

        Raises:
            ArtifactError: When the model has another task.
        """
        if self.anomaly is None:
            raise ArtifactError(f"the model {self.name} has the task {self.task} and finds no anomalies")
        return self.anomaly

    def to_json(self) -> bytes:
        """Return the canonical bytes of manifest.json."""
        values = asdict(self)
        for name in OPTIONAL:
            if not values[name]:
                del values[name]
        return json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"

    def digest(self) -> str:
        """Return the artifact digest: the sha256 of the canonical bytes, hex."""
        return hashlib.sha256(self.to_json()).hexdigest()


def label_output(labels: Sequence[str], outputs: Sequence[TensorSpec]) -> str:
    """Return the output of a tensor model that has one number per label; empty when there are no labels.

    Raises:
        ArtifactError: When there are labels and not exactly one output has as many numbers.
    """
    fitting = [output.name for output in outputs if output.shape == (-1, len(labels))]
    if labels and len(fitting) != 1:
        raise ArtifactError(
            f"the model has {len(labels)} labels, but {len(fitting)} outputs with one number for each label",
            hint="give labels only to a model with exactly one output that has one number for each label",
        )
    return fitting[0] if labels else ""


def parse_manifest(content: bytes) -> Manifest:
    """Parse manifest.json.

    Raises:
        ArtifactError: When this version of Eaves can't read the manifest, or it names paths outside the artifact.
    """
    try:
        values = parse_json(content, max_values=None)
    except ValueError as error:
        raise ArtifactError(f"manifest.json is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise ArtifactError("manifest.json is not a JSON object")
    if (version := values.get("schema_version")) != SCHEMA_VERSION:
        raise ArtifactError(
            f"manifest.json has schema_version {version!r:.80}; this version of Eaves reads {SCHEMA_VERSION}",
            hint="convert the run again",
        )
    missing = [field.name for field in fields(Manifest) if field.name not in (*values, *OPTIONAL)]
    if missing:
        raise ArtifactError(f"manifest.json lacks {', '.join(missing)}", hint="convert the run again")
    try:
        return _manifest(values)
    except ConfigError as error:
        raise ArtifactError(error.message) from error
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise ArtifactError(f"manifest.json is incomplete or malformed: {error!r}") from error


def _manifest(values: Mapping[str, Any]) -> Manifest:
    labels = values["labels"]
    if not (isinstance(labels, list) and len(labels) <= MAX_LABELS and all(isinstance(label, str) for label in labels)):
        raise ArtifactError("manifest.json: labels must be a list of strings")
    for name in ("licences", "toolchain"):
        if not all(isinstance(value, str) for value in values[name].values()):
            raise ArtifactError(f"manifest.json: {name} must hold strings only")
    files = {}
    for path, entry in values["files"].items():
        origin = f"manifest.json: files[{check_path(path)}]"
        if not isinstance(entry, Mapping):
            raise ArtifactError(f"{origin} must be an object")
        files[path] = build(FileEntry, SettingsLayer(origin=origin, values=entry))
        if not _SHA256.fullmatch(files[path].sha256):
            raise ArtifactError(f"{origin}: sha256 is not 64 hex digits")
    recipe = None if values["task"] == TENSOR and values["recipe"] is None else parse_recipe(values["recipe"])
    made = build(Manifest, SettingsLayer(origin="manifest.json", values={**values, "files": {}, "recipe": None}))
    if recipe is not None and made.task == TENSOR:
        raise ArtifactError(f"manifest.json: recipe must be null where the task is {TENSOR}")
    return replace(made, files=files, recipe=recipe)


def is_printable(text: str) -> bool:
    """Return whether a text is safe to print: it has no escape sequence, line break or direction override."""
    return 0 < len(text) <= MAX_TEXT and text.isprintable()


def check_path(path: str) -> str:
    """Return the path when it is a plain relative one that stays inside the artifact.

    Raises:
        ArtifactError: When the path is absolute, longer than 255 characters, or has `..`, backslashes or control
            characters.
    """
    parts = PurePosixPath(path).parts
    plain = bool(parts) and not path.startswith("/") and ".." not in parts and path == "/".join(parts)
    if not plain or "\\" in path or not path.isprintable() or len(path) > 255:
        raise ArtifactError(f"manifest.json names a path that may lead outside the artifact: {path[:80]!r}")
    return path
