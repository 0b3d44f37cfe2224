"""Replaces the head of an artifact whose backbone was frozen, so that the update ships a head and a graph.

The backbone's weights and the golden images stay as they are, byte for byte. The expected answers to the golden images
are those of the new graph, which are compared with the head's in 64-bit floats.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from converters.onnx.graph import HEAD, WEIGHTS, canonicalize, is_head, write_part
from converters.onnx.graph_rewrites import attributes
from eaves.artifact import Artifact, DecisionRule, GoldenCase, Manifest, Parity, load_golden
from eaves.artifact.golden import INDEX, tensor_digest, write_index
from eaves.artifact.manifest import CLASSIFY, FEATURES, LOGITS, PROBABILITIES
from eaves.artifact.store import HANDLER, LABELS, MODEL, file_entries
from eaves.errors import ConversionError, GoldenError, ParityError
from eaves.inference.json_values import numbers
from eaves.inference.session import Session
from trainer.calibration import prior_correction, softmax
from trainer.model.feature_sums import LinearHead

TOLERANCE = 1e-3
"""Maximum difference of a logit or a probability between the graph and the head in 64-bit floats; 1e-5 is usual."""
_PLAIN = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0}


def replace_head(
    base: Artifact,
    staging: Path,
    head: LinearHead,
    labels: Sequence[str],
    *,
    temperature: float = 1.0,
    label_weights: Sequence[float] = (),
    **further: Any,
) -> Manifest:
    """Write the files of an artifact with another head, and build its manifest.

    Args:
        base: Artifact with the backbone; it is not changed.
        staging: Empty folder, which becomes the artifact.
        head: The head, (features, labels), for the features that the graph of `base` computes.
        labels: Names of the classes, which may be more or fewer than those of `base`.
        temperature: Divisor of the logits before they become probabilities.
        label_weights: Weights of the decision rule, by which the head was fitted; empty for none.
        further: Further fields of the manifest.

    Raises:
        ConversionError: The artifact has no head of its own, or one of another size. It is a ParityError when the new
            graph gives other answers than the head.
        GoldenError: This machine decodes a golden image to another tensor.
    """
    manifest = base.manifest
    if manifest.task != CLASSIFY or HANDLER in manifest.files:
        raise ConversionError(
            f"the head of {base.path} can't be replaced: its task is {manifest.task}"
            f"{f', and it has a {HANDLER}' if HANDLER in manifest.files else ''}",
            hint=f"use an artifact of the task {CLASSIFY} without a {HANDLER}",
        )
    if (size := count_features(base)) != len(head.kernel):
        raise ConversionError(f"{base.path} computes {size} features, and the head takes {len(head.kernel)}")
    model = onnx.load(str(base.model_path), load_external_data=False)
    rounded = LinearHead(**{name: getattr(head, name).astype(np.float32) for name in ("kernel", "bias")})
    bias = prior_correction(label_weights)
    shift = np.zeros(len(labels)) if bias is None else -temperature * bias
    _rebuild_tail(model.graph, rounded, shift, temperature)
    canonicalize(model)
    for name in manifest.files:
        (staging / name).parent.mkdir(parents=True, exist_ok=True)
        if name not in (MODEL, LABELS, INDEX, f"{WEIGHTS}/{HEAD}"):
            shutil.copyfile(base.path / name, staging / name)
    write_part([one for one in model.graph.initializer if is_head(one.name)], staging, f"{WEIGHTS}/{HEAD}", is_head)
    (staging / MODEL).write_bytes(model.SerializeToString(deterministic=True))
    (staging / LABELS).write_text("".join(f"{label}\n" for label in labels), encoding="utf-8")
    decision = DecisionRule(label_weights=tuple(label_weights))
    cases, parity = _prove(base, model, staging, rounded, temperature, decision)
    write_index(staging / INDEX, cases)
    return replace(
        manifest,
        labels=tuple(labels),
        outputs=tuple(replace(one, shape=(*one.shape[:-1], len(labels))) for one in manifest.outputs),
        parity=parity,
        files=file_entries(staging),
        temperature=temperature,
        decision=decision,
        **{"label_scores": (), **further},
    )


def count_features(artifact: Artifact) -> int:
    """Return the number of features that the head of an artifact takes.

    Raises:
        ConversionError: The artifact has no head of its own.
    """
    graph = onnx.load(str(artifact.model_path), load_external_data=False).graph
    node = next((one for one in graph.node if one.op_type == "Gemm" and is_head(one.input[1])), None)
    if node is None or {**_PLAIN, **attributes(node)} != _PLAIN:
        raise ConversionError(
            f"{artifact.path} has no head of its own: its whole network was trained, or it is no artifact of a run",
            hint="convert a run whose train.mode is frozen or sums",
        )
    return int(next(one.dims[0] for one in graph.initializer if one.name == node.input[1]))


def _find_head(graph: onnx.GraphProto) -> Any:
    return next(node for node in graph.node if node.op_type == "Gemm" and is_head(node.input[1]))


def _rebuild_tail(graph: onnx.GraphProto, head: LinearHead, shift: Any, temperature: float) -> None:
    """Replace everything behind the features by a head and its scores: softmax((logits - shift) / temperature)."""
    node = _find_head(graph)
    own: dict[str, Any] = {
        "head/kernel": head.kernel,
        "head/bias": head.bias,
        "head/shift": np.asarray([shift], np.float32),
        "head/divisor": np.full((1, len(head.bias)), temperature, np.float32),
    }
    behind = {*node.output}
    for one in graph.node:  # each is after those whose outputs it reads
        behind.update(one.output if behind.intersection(one.input) else ())
    kept = [one for one in graph.node if not behind.intersection(one.output)]
    node.input[:], node.output[:] = [node.input[0], "head/kernel", "head/bias"], ["head/logits"]
    tail = [
        node,
        helper.make_node("Identity", ["head/logits"], [LOGITS]),
        helper.make_node("Sub", ["head/logits", "head/shift"], ["head/shifted"]),
        helper.make_node("Div", ["head/shifted", "head/divisor"], ["head/scaled"]),
        helper.make_node("Softmax", ["head/scaled"], [PROBABILITIES], axis=-1),
    ]
    nodes = [onnx.NodeProto.FromString(one.SerializeToString()) for one in (*kept, *tail)]
    weights = [onnx.TensorProto.FromString(one.SerializeToString()) for one in graph.initializer]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(one for one in weights if not is_head(one.name))
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in own.items())
    for output in graph.output:
        output.type.tensor_type.shape.dim[-1].dim_value = len(head.bias)


def _prove(
    base: Artifact, model: onnx.ModelProto, staging: Path, head: LinearHead, temperature: float, decision: DecisionRule
) -> tuple[list[GoldenCase], Parity]:
    """Answer the golden images by the graph, and compare its answers with the head's in 64-bit floats."""
    node, manifest = _find_head(model.graph), base.manifest
    shown, file = onnx.ModelProto.FromString(model.SerializeToString()), staging / "proof.onnx"
    shown.graph.node.append(helper.make_node("Identity", [node.input[0]], [FEATURES]))
    size: list[str | int | None] = ["batch", len(head.kernel)]
    shown.graph.output.append(helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, size))
    file.write_bytes(shown.SerializeToString())
    session, cases, truth, found = Session(file, optimise=manifest.optimise_on_open), [], [], []
    for case in load_golden(base):
        tensor = manifest.image_recipe.tensor((base.path / case.file).read_bytes())
        if tensor_digest(tensor) != case.tensor_sha256:
            raise GoldenError(
                f"golden image {case.file}: this machine decodes it to another input tensor than the conversion did",
                hint="install the locked requirements: the Pillow of this machine decodes or resizes differently",
            )
        answer = session.answer(tensor[np.newaxis])
        cases.append(
            replace(case, outputs={name: tuple(numbers(answer[name].ravel())) for name in (LOGITS, PROBABILITIES)})
        )
        logits = head.kernel.astype(np.float64).T @ answer[FEATURES][0] + head.bias
        scores = softmax(logits[np.newaxis], temperature, prior_correction(decision.label_weights))
        truth.append((logits, scores[0]))
        found.append((answer[LOGITS][0], answer[PROBABILITIES][0]))
    file.unlink()
    return cases, _compare(np.array(found), np.array(truth), decision)


def _compare(found: Any, truth: Any, decision: DecisionRule) -> Parity:
    """Return how two answers differ, each (images, 2, classes): logits and probabilities."""
    errors = np.abs(found - truth).max(axis=(0, 2), initial=0.0)
    largest = np.maximum(np.abs(truth[:, 0]).max(axis=1, initial=0.0), 1.0)
    same = decision.choose(found[:, 1]) == truth[:, 0].argmax(axis=1)
    parity = Parity(
        images=len(found),
        max_abs_error=float(errors[0]),
        max_abs_error_probabilities=float(errors[1]),
        max_rel_error=float((np.abs(found - truth)[:, 0].max(axis=1) / largest).max()),
        top1_agreement=float(same.mean()),
        tolerance=TOLERANCE,
        passed=bool((errors <= TOLERANCE).all() and same.all()),
    )
    if not parity.passed:
        raise ParityError(
            f"the graph with the new head differs from the head: logits by up to {errors[0]:.2e}, probabilities by up "
            f"to {errors[1]:.2e} (allowed {TOLERANCE:.0e}), the same label on {parity.top1_agreement:.1%} of "
            f"{parity.images} golden images",
            hint="report the head and the artifact to the developers of Eaves",
        )
    return parity
