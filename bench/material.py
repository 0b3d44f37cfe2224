"""Prepares the models that the benchmarks measure, unless an earlier run has prepared them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.report.machine import ROOT
from bench.report.section import UnavailableError
from eaves.artifact import TARGETS, detect_cpu, open_artifact

FOLDER = ROOT / "build/bench"
SHARED = ROOT.parent / "shared"
"""Directory with photos of flowers and pretrained weights; without it the model has random weights, which doesn't
change its speed."""
FITTED = "fp32 for this CPU"
"""Name of the artifact that has a variant for this CPU."""
OPSET = "17"
SOURCES = ("converters", "eaves/artifact", "eaves/inference", "eaves/onnxruntime")
"""Folders whose code decides what a conversion writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """The models and the image that the benchmarks use; all paths are absolute.

    Attributes:
        name: Description of the model.
        run: Run that the artifacts were made from; None: the artifacts were given and no run is known.
        exported: The fp32 model that tf2onnx writes by itself, with its weights in the same file.
        fp32: Artifact with precision fp32, which every CPU opens in the same way.
        fitted: Artifact with precision fp32 and a variant for this CPU (`convert.targets`); None when no target fits.
        int8: Artifact with precision int8.
        updates: Artifacts with another head on the same backbone, by precision; empty when there is no second run.
        image: JPEG that is sent.
    """

    name: str
    run: Path | None
    exported: Path
    fp32: Path
    fitted: Path | None
    int8: Path
    updates: Mapping[str, Path]
    image: Path

    def precisions(self) -> dict[str, Path]:
        """Return the artifacts whose starts are measured, by their names on the page."""
        fitted = {} if self.fitted is None else {FITTED: self.fitted}
        return {"fp32": self.fp32, **fitted, "int8": self.int8}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Everything that a part of the benchmark gets.

    Attributes:
        material: Models to measure; None when the part needs none or there are none.
        reason: Why there are no models; empty otherwise.
        is_quick: Whether to make short runs, whose figures are rough.
        has_peers: Whether other servers are installed and measured beside Eaves.
        environ: Environment variables of the command, for parts with settings of their own.
    """

    material: Material | None
    reason: str = ""
    is_quick: bool = False
    has_peers: bool = True
    environ: Mapping[str, str]

    def need_material(self) -> Material:
        """Return the models.

        Raises:
            UnavailableError: When there are none.
        """
        if self.material is None:
            raise UnavailableError(self.reason or "there is no model")
        return self.material

    def rounds(self, normal: int) -> int:
        """Return the number of rounds: `normal`, or 2 in a quick run."""
        return min(2, normal) if self.is_quick else normal


def prepare(environ: Mapping[str, str], folder: Path = FOLDER, shared: Path = SHARED) -> Material:
    """Return the models, and train, convert and export those that are missing; that takes some minutes, once.

    Args:
        environ: Environment variables. EAVES_BENCH_RUN names a run of image classification, and EAVES_BENCH_RUN2 a run
            with another head on the same backbone. EAVES_BENCH_FP32, EAVES_BENCH_FITTED, EAVES_BENCH_INT8 and
            EAVES_BENCH_EXPORTED name models that are made from the run otherwise. EAVES_BENCH_IMAGE names the JPEG to
            send.
        folder: Directory for the models.
        shared: Directory with `data/flowers` and `weights`, used when no run is named.

    Raises:
        UnavailableError: When a model can't be made.
    """
    runs = [environ.get(f"EAVES_BENCH_{name}", "") for name in ("RUN", "RUN2")]
    given = {name: environ.get(f"EAVES_BENCH_{name}", "") for name in ("FP32", "FITTED", "INT8", "EXPORTED", "IMAGE")}
    if not runs[0] and not all(given[name] for name in ("FP32", "INT8", "EXPORTED")):
        runs = _train(folder, shared)
    made = folder / "models" / _digest(runs)
    fp32 = Path(given["FP32"] or _convert(runs[0], made / "fp32/artifact", "fp32")).absolute()
    target = best_target()
    for_cpu = ("--targets", target) if target else ()
    fitted = given["FITTED"]
    if not fitted and runs[0] and target:
        fitted = str(_convert(runs[0], made / "fp32-fitted/artifact", "fp32", for_cpu))
    int8 = Path(given["INT8"] or _convert(runs[0], made / "int8/artifact", "int8", for_cpu)).absolute()
    updates = {}
    for precision, previous, more in (("fp32", fp32, ()), ("int8", int8, for_cpu)) if runs[1] else ():
        words = ("--previous", str(previous), *more)
        updates[precision] = _convert(runs[1], made / f"{precision}-update/artifact", precision, words)
    pictures = sorted(fp32.glob("golden/*.jpg"), key=lambda path: path.stat().st_size)
    if not given["IMAGE"] and not pictures:
        raise UnavailableError("the model's golden images are no JPEGs; EAVES_BENCH_IMAGE can name one")
    manifest, dots = open_artifact(fp32).manifest, open_artifact(int8).manifest.quantisation.instruction_set
    return Material(
        name=f"{manifest.name}, {manifest.image_recipe.width}x{manifest.image_recipe.height} pixels; int8 is for"
        + (" CPUs with int8 dot products (convert.targets)" if dots == "vnni" else " any CPU"),
        run=Path(runs[0]).absolute() if runs[0] else None,
        exported=Path(given["EXPORTED"] or _export(runs[0], made / "exported.onnx")).absolute(),
        fp32=fp32,
        fitted=Path(fitted).absolute() if fitted else None,
        int8=int8,
        updates=updates,
        image=Path(given["IMAGE"] or pictures[-1]).absolute(),
    )


def render_setup(setup: Setup) -> str:
    """Return the setup as JSON, for the process that measures a part."""
    return json.dumps({**asdict(setup), "environ": {}}, default=str)


def parse_setup(text: str, environ: Mapping[str, str]) -> Setup:
    """Return the setup that `render_setup` wrote, with the environment variables of this process."""
    values = json.loads(text)
    material = None if values["material"] is None else _parse_material(values["material"])
    return Setup(**{**values, "material": material, "environ": environ})


def _parse_material(values: Mapping[str, Any]) -> Material:
    return Material(
        **{**values, **{name: Path(values[name]) for name in ("exported", "fp32", "int8", "image")}}
        | {name: Path(values[name]) if values[name] else None for name in ("run", "fitted")}
        | {"updates": {precision: Path(path) for precision, path in values["updates"].items()}}
    )


def best_target() -> str:
    """Return the name of the target with the most CPU features that this CPU supports; empty: none fits."""
    cpu = detect_cpu()
    fitting = [name for name, target in TARGETS.items() if cpu.runs(name) and target.layout == cpu.layout]
    return max(fitting, key=lambda name: len(TARGETS[name].flags), default="")


def _digest(runs: Sequence[str]) -> str:
    """Return a digest of the runs and of the code that converts them, so that a change of either makes new models."""
    found = hashlib.sha256()
    files = [Path(run) / "run.json" for run in runs if run]
    files += [path for source in SOURCES for path in sorted((ROOT / source).rglob("*.py"))]
    for path in files:
        found.update(path.read_bytes())
    return found.hexdigest()[:16]


def _train(folder: Path, shared: Path) -> list[str]:
    """Return two runs of Inception V3 with the same backbone and different heads, trained if they don't exist.

    Without photos of flowers and weights, one run has random weights and there is no second run.
    """
    data, weights = shared / "data/flowers/train", shared / "weights/inception_v3_notop.weights.h5"
    if not (data.is_dir() and weights.is_file()):
        run = folder / "random/run"
        if not (run / "run.json").is_file():
            _run("making a model with random weights", "-m", "bench.model.random_run", str(run.parent))
        return [str(run), ""]
    runs = []
    for name, more in (("flowers", ()), ("flowers2", ("--head-l2", "10"))):
        runs.append(str(folder / "runs" / name))
        if not Path(runs[-1], "run.json").is_file():
            words = build_training_words(data, weights, Path(runs[-1]))
            _run(f"training {name}", "-P", "-m", "trainer", *words, *more)
    return runs


def build_training_words(data: Path, weights: Path, run: Path) -> list[str]:
    """Return the options of `python -m trainer` that train Inception V3 on photos."""
    return ["--path", str(data), "--arch", "inception_v3", "--weights", str(weights), "--output", str(run)]


def _convert(run: str, output: Path, precision: str, more: Sequence[str] = ()) -> Path:
    if not (output / "manifest.json").is_file():
        words = ("-P", "-m", "converters", run, "--output", str(output), "--precision", precision, *more)
        output.parent.mkdir(parents=True, exist_ok=True)
        _run(f"converting {run} to {precision}", *words)
    return output


def _export(run: str, output: Path) -> Path:
    if not output.is_file():
        words = ("--saved-model", str(Path(run) / "model"), "--output", str(output), "--opset", OPSET)
        output.parent.mkdir(parents=True, exist_ok=True)
        _run("exporting as tf2onnx does it by itself", "-P", "-m", "tf2onnx.convert", *words)
    return output


def _run(what: str, *words: str) -> None:
    """Run this Python with the given words.

    Raises:
        UnavailableError: When the process fails.
    """
    print(what, file=sys.stderr, flush=True)
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False, env=environ)
    if done.returncode:
        raise UnavailableError(f"{what} failed with {done.returncode}: {done.stderr[-500:].strip()}")
