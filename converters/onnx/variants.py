"""Writes fp32 graphs for single instruction sets, with weights in the order in which this CPU's kernels read them.

Opening such a graph needs no reordering and no private copy of the weights, so a function starts sooner and needs less
memory, but no other kind of CPU can run the graph.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from converters.onnx.graph import canonicalize, write_graph
from converters.onnx.optimizer import optimize
from eaves.artifact import TARGETS, Variant, detect_cpu
from eaves.artifact.manifest import VARIANTS
from eaves.artifact.store import MODEL

_log = logging.getLogger(__name__)


def write_variants(
    prepared: Path, staging: Path, targets: Sequence[str], *, split: bool, folder: Path
) -> tuple[Variant, ...]:
    """Write a graph for each memory layout of `targets` that this machine can make.

    Targets with the same layout share one graph, made for the target that needs the fewest CPU features.

    Args:
        prepared: File of the prepared graph.
        staging: Directory of the artifact that is being built.
        targets: Names in `eaves.artifact.TARGETS`.
        split: Whether the frozen backbone and the trained head get a file of weights each.
        folder: Folder for intermediate files.
    """
    here, made = detect_cpu(), dict[str, Variant]()
    for target in sorted(targets, key=lambda name: (len(TARGETS[name].flags), name)):
        layout = TARGETS[target].layout
        if layout == "arm64":  # with onnxruntime 1.32, all of its optimisations give the portable graph on arm64
            continue
        if layout != here.layout or not here.runs(target):
            _log.warning(
                "the artifact has no graph for %s: this CPU can't build one; convert on a machine with such a CPU",
                target,
            )
        elif layout not in made:
            path = f"{VARIANTS}/{target}/{MODEL}"
            model = optimize(prepared, folder / "laid-out.onnx", "all", portable=False)
            canonicalize(model)
            (staging / path).parent.mkdir(parents=True)
            write_graph(model, staging / path, split=split, folder="")
            made[layout] = Variant(path=path, target=target)
    return tuple(made[layout] for layout in sorted(made))
