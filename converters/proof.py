"""Proves that the original and the artifact give the same outputs for the same encoded bytes.

The original runs in a child process, `converters.reference_process`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from eaves.artifact import Parity
from eaves.artifact.golden import difference, tensor_digest
from eaves.artifact.manifest import FEATURES, LOGITS, MAP, OUTPUTS, PROBABILITIES, TENSOR
from eaves.errors import ConversionError, ParityError
from eaves.inference import child_process
from eaves.inference.child_process import ChildFault
from eaves.recipe import Tensor

if TYPE_CHECKING:
    from converters.declaration import Interface
    from converters.model_source import ModelSource
    from eaves.inference.session import Session


Floats = npt.NDArray[np.float32]
SMALLEST = 1e-12
"""Lower bound of probabilities before their logarithm is taken."""
SUM_TOLERANCE = 1e-3
"""Largest difference from 1 of the sum of an image's probabilities; half precision stays below it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Outputs of the original model, or of the session that is compared with it, for samples.

    Attributes:
        outputs: Outputs by name for each sample, without the batch axis; of a model that takes images `logits` and
            `probabilities`, perhaps `features`, whatever it calls its own.
        tensor_sha256: Digest of each input tensor.
        tensors: Input tensor of each sample without the batch axis; empty if the recipe makes them.
    """

    outputs: tuple[Mapping[str, Tensor], ...]
    tensor_sha256: tuple[str, ...]
    tensors: tuple[Tensor, ...] = ()

    def stack(self, name: str) -> Tensor:
        """Return one output for all samples, (N, ...)."""
        return np.asarray([one[name] for one in self.outputs])


def run_original(
    source: ModelSource,
    samples: Sequence[Path],
    *,
    timeout_s: float,
    on_export: Callable[[], object] = lambda: None,
    **export: Any,
) -> Answers:
    """Run the original model on files of samples in a child process, which exports a TensorFlow model first.

    The softmax and the logarithm that the conversion adds to the graph are computed here with NumPy.

    Args:
        source: The model.
        samples: Files of samples.
        timeout_s: Time limit of the child process in seconds.
        on_export: Called when a TensorFlow model has been exported, before its answers are read.
        export: What `converters.tensorflow_export.export_tensorflow` needs.

    Raises:
        ConversionError: The export or the original fails or takes too long, or the outputs are not as declared or not
            finite.
    """
    is_onnx = source.route == "onnx"
    answering = (
        f"the original model {'onnxruntime' if is_onnx else 'TensorFlow'}, which answers the samples of the parity "
        "proof,"
    )
    with TemporaryDirectory() as folder:
        output = Path(folder) / "truth.npz"
        run_child(
            "converters.reference_process",
            {**source.job(), **export, "samples": [str(path.absolute()) for path in samples], "output": str(output)},
            steps={**({} if is_onnx else {"tf2onnx": on_export}), answering: lambda: None},
            timeout_s=timeout_s,
        )
        with np.load(output, allow_pickle=False) as found:
            stored = dict(found)
    answers: list[dict[str, Tensor]] = [{} for _ in samples]
    for key, value in stored.items():
        number, _, output_name = key.partition("/")
        if output_name:
            if value.shape[:1] != (1,):
                message = f"the output {output_name} of the original model has the shape {value.shape} for one sample"
                raise ConversionError(message, hint="export the model with the batch as the first axis of every output")
            answers[int(number)][output_name] = value[0]
    outputs: list[Mapping[str, Tensor]] = list(answers)
    if source.task != TENSOR:
        outputs = [read_outputs(answer, source.interface) for answer in answers]
        if source.route != "run" and answers:
            logits, probabilities = (np.asarray([one[name] for one in outputs]) for name in OUTPUTS)
            if logits.shape[1:] != (len(source.labels),):
                raise ConversionError(
                    f"the model gives {logits.shape[-1]} numbers for an image, but the declaration has "
                    f"{len(source.labels)} labels",
                    hint="declare as many labels as the model has classes",
                )
            check_declared(logits, probabilities, source.interface, answers[0])
    for path, answer in zip(samples, outputs, strict=True):
        if infinite := [name for name, value in answer.items() if not np.all(np.isfinite(value))]:
            raise ConversionError(
                f"{path.name}: the output {infinite[0]} of the original model is not finite", hint="remove the sample"
            )
    return Answers(
        outputs=tuple(outputs),
        tensor_sha256=tuple(stored["tensor_sha256"].tolist()),
        tensors=tuple(stored[str(number)] for number in range(len(samples)) if str(number) in stored),
    )


def read_outputs(answer: Mapping[str, Tensor], interface: Interface) -> Mapping[str, Floats]:
    """Return `logits` and `probabilities`, each (labels,) float32, and the declared `features`, from a model's outputs.

    The answer has a `map` only for the task `anomaly`. A single probability is that of the second of two labels.
    """
    logits_name, probabilities_name = interface.pick_outputs(answer)
    further = {FEATURES: answer[interface.features].ravel().astype(np.float32)} if interface.features else {}
    further |= {MAP: answer[MAP]} if MAP in answer else {}
    if probabilities_name is not None:
        probabilities = answer[probabilities_name].astype(np.float32)
        if len(probabilities) == 1:
            probabilities = np.concatenate([np.float32(1) - probabilities, probabilities])
    if logits_name is not None:
        logits = answer[logits_name].astype(np.float32)
    else:
        logits = np.log(np.clip(probabilities, np.float32(SMALLEST), None))
    if probabilities_name is None:
        powers = np.exp(logits.astype(np.float64) - np.max(logits))
        probabilities = (powers / np.sum(powers)).astype(np.float32)
    return {LOGITS: logits, PROBABILITIES: probabilities, **further}


def check_declared(logits: Floats, probabilities: Floats, interface: Interface, names: Collection[str]) -> None:
    """Check that the outputs for the samples look like what they are declared as.

    Args:
        logits: (N, labels); those of the model, if it has any.
        probabilities: (N, labels); those of the model, if it has any.
        interface: Input and outputs of the model.
        names: Names of the model's outputs.

    Raises:
        ConversionError: Probabilities don't sum to 1, or logits do; the hint names the line of the declaration.
    """
    logits_name, probabilities_name = interface.pick_outputs(names)
    if probabilities_name is not None:
        sums, low, high = probabilities.sum(axis=1), np.min(probabilities), np.max(probabilities)
        if low < -SUM_TOLERANCE or high > 1 + SUM_TOLERANCE:
            raise ConversionError(
                f"the output {probabilities_name} is declared as probabilities, but on the samples its numbers lie "
                f"between {low:.3g} and {high:.3g}",
                hint=f"declare `logits: {probabilities_name}` instead of `probabilities: {probabilities_name}` if they "
                "are logits",
            )
        if np.any(np.abs(sums - 1) > SUM_TOLERANCE):
            raise ConversionError(
                f"the output {probabilities_name} is declared as probabilities, but on the samples its numbers sum to "
                f"{np.min(sums):.3f} to {np.max(sums):.3f} and not to 1: several labels may hold for one image, as "
                "with a sigmoid for each label, and Eaves predicts one label",
                hint="end the model in a softmax and train it with one label for each image; if the numbers are "
                f"logits, declare `logits: {probabilities_name}` instead of `probabilities: {probabilities_name}`",
            )
    if logits_name is not None and np.min(logits) >= 0 and np.all(np.abs(logits.sum(axis=1) - 1) <= SUM_TOLERANCE):
        raise ConversionError(
            f"the output {logits_name} is declared as logits, but on all {len(logits)} samples its numbers are at "
            "least 0 and sum to 1, so they are probabilities",
            hint=f"declare `probabilities: {logits_name}` instead of `logits: {logits_name}`",
        )


DECISION_TOLERANCE = 1e-3
"""Maximum difference of a weighed probability, from 0 to 1, from the one that the logits give; the graph computes both
in float32."""


def run_session(session: Session, source: ModelSource, samples: Sequence[Path], truth: Answers) -> Answers:
    """Run a session on the samples that the original was run on.

    Raises:
        ParityError: There are no samples, or an input tensor differs from the original's.
    """
    if not samples:
        raise ParityError(
            "there are no images to prove on that the converted model gives the same answers",
            hint="train with more held-out images (train.val_fraction)",
        )
    answers = []
    for number, (path, expected) in enumerate(zip(samples, truth.tensor_sha256, strict=True)):
        tensor = truth.tensors[number] if truth.tensors else source.recipe.tensor(path.read_bytes())
        if tensor_digest(tensor) != expected:
            raise ParityError(
                f"{path.name}: training and serving make different input tensors of the same image",
                hint="install the locked requirements: two versions of Pillow decode differently",
            )
        answers.append({name: output[0] for name, output in session.answer(tensor[np.newaxis]).items()})
    return Answers(outputs=tuple(answers), tensor_sha256=truth.tensor_sha256, tensors=truth.tensors)


def compare(
    found: Answers,
    truth: Answers,
    source: ModelSource,
    tolerance: float,
    *,
    agreement: float = 1.0,
    probabilities_only: bool = False,
) -> tuple[Parity, Mapping[str, float]]:
    """Compare a session's outputs with the original's.

    Args:
        found: Outputs of the session.
        truth: Outputs of the original; the label of an image is the one with the largest logit.
        source: The model, whose rule chooses the label from the session's probabilities.
        tolerance: Largest difference of an output. It is relative to the largest number of the output if that is above
            1, but absolute for logits and probabilities.
        agreement: Smallest share of samples with the same label.
        probabilities_only: Whether logits may differ by any number, as int8 is assessed by its probabilities.

    Returns:
        parity: Differences and the verdict.
        worst: Largest difference of each output.
    """
    exact = () if source.task == TENSOR else OUTPUTS
    pairs = list(zip(found.outputs, truth.outputs, strict=True))

    def measure(name: str, *, relative: bool) -> float:
        return max(difference(one[name][np.newaxis], own[name].ravel(), relative=relative) for one, own in pairs)

    worst = {name: measure(name, relative=name not in exact) for name in truth.outputs[0]}
    measured = [name for name in worst if name not in (PROBABILITIES, FEATURES)] if exact else list(worst)
    close = all(off <= tolerance for name, off in worst.items() if name != LOGITS or not probabilities_only)
    finite = bool(np.all(np.isfinite(list(worst.values()))))
    same = _share_of_equal_labels(found, truth, source) if finite else 0.0
    parity = Parity(
        images=len(pairs),
        max_abs_error=max(measure(name, relative=False) for name in measured),
        max_abs_error_probabilities=worst[PROBABILITIES] if exact else 0.0,
        max_rel_error=max(measure(name, relative=True) for name in measured),
        top1_agreement=same,
        tolerance=tolerance,
        min_agreement=agreement,
        passed=close and finite and same >= agreement,
    )
    return parity, worst


def _share_of_equal_labels(found: Answers, truth: Answers, source: ModelSource) -> float:
    if source.task != TENSOR:
        chosen, expected = source.decision.choose(found.stack(PROBABILITIES)), truth.stack(LOGITS).argmax(axis=1)
        return float(np.mean(chosen == expected))
    shape = (len(source.labels),)
    scores = next((name for name, value in truth.outputs[0].items() if value.shape == shape), None)
    if not source.labels or scores is None:
        return 1.0
    return float(np.mean(found.stack(scores).argmax(axis=1) == truth.stack(scores).argmax(axis=1)))


def prove_parity(
    session: Session, source: ModelSource, samples: Sequence[Path], truth: Answers, tolerance: float
) -> Parity:
    """Prove on every sample that a session gives the outputs and labels of the original.

    Raises:
        ParityError: The input tensors differ, a difference is too large, the rule does not choose the label with the
            largest logit, or there are no samples.
    """
    found = run_session(session, source, samples, truth)
    parity, worst = compare(found, truth, source, tolerance)
    if not parity.passed:
        differences = ", ".join(f"{name} by up to {off:.2e}" for name, off in worst.items())
        raise ParityError(
            f"the converted model differs from the trained one: {differences} (allowed {tolerance:.0e}), the same "
            f"label on {parity.top1_agreement:.1%} of {parity.images} samples",
            hint="set another convert.opset, or report the model to the developers of Eaves",
        )
    if source.route == "run":
        _prove_decision(found, source)
    return parity


def _prove_decision(found: Answers, source: ModelSource) -> None:
    """Check that the rule undoes the correction of the scores: weighed probabilities are softmax(logits / temperature).

    Labels alone would prove little, because few images are so near to a boundary that a wrong rule changes their label.
    """
    logits, probabilities = (found.stack(name).astype(np.float64) for name in OUTPUTS)
    weighed = source.decision.weigh(probabilities)
    trained = np.exp((logits - logits.max(axis=1, keepdims=True)) / source.temperature)
    own, expected = (values / values.sum(axis=1, keepdims=True) for values in (weighed, trained))
    worst = float(np.max(np.abs(own - expected)))
    if not worst <= DECISION_TOLERANCE:
        raise ParityError(
            "the decision rule does not choose the labels of the trained model: its weighed probabilities differ from "
            f"those of the training by up to {worst:.2e}",
            hint="train the model again",
        )


def run_child(
    module: str,
    job: Mapping[str, Any],
    *,
    steps: Mapping[str, Callable[[], object]],
    timeout_s: float,
) -> None:
    """Run `python -P -m module` with a job to its end.

    Args:
        module: Name of the module, whose `__main__` part calls `eaves.inference.child_process.run_child_main`.
        job: Input of the child as plain data.
        steps: Name of the child in error messages until its first result, until its second, and so on, each with a
            function that is called then.
        timeout_s: Maximum run time in seconds.

    Raises:
        ConversionError: The child is killed, fails, or takes too long.
        EavesError: The error that the child's work raised.
    """
    calls = iter(steps.values())

    def call_next(_: int) -> None:
        next(calls, lambda: None)()

    try:
        child_process.run_child(module, job, results=len(steps), timeout_s=timeout_s, on_result=call_next)
    except ChildFault as fault:
        what = [*steps][min(fault.results, len(steps) - 1)]
        if fault.late:
            raise ConversionError(
                f"{what} was stopped: it took longer than convert.timeout_s ({timeout_s:.0f} s)",
                hint="raise convert.timeout_s",
            ) from fault
        last = "\n".join(fault.words.strip().splitlines()[-8:])
        if fault.code >= 0:
            message = f"{what} failed with exit code {fault.code}; the end of its output:\n{last}"
            raise ConversionError(message) from fault
        raise ConversionError(
            f"{what} was killed by signal {-fault.code}; the end of its output:\n{last}",
            hint="if the signal is 9, this machine ran out of memory: convert on a machine with more memory",
        ) from fault
