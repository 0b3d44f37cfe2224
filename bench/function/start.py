"""Benchmark of a function's cold start and memory, compared with a minimal script that predicts one image.

EAVES_BENCH_ARTIFACT (fp32) and EAVES_BENCH_INT8 name two artifacts of the same run, and EAVES_BENCH_EXPORTED names the
ONNX model that tf2onnx writes from that run. If EAVES_BENCH_RUN names a run, the models that aren't named are made from
that run. EAVES_BENCH_IMAGE is the JPEG to send (default: a golden image). The required limits beside the numbers are
those of Inception V3.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.function.process import (
    FUNCTION,
    Message,
    Start,
    function_environment,
    measure_bare,
    measure_start,
)
from bench.measure.process import run_measured
from bench.measure.timing import print_columns
from tests.ports import find_port

ROUNDS = 9
"""Number of new processes of each kind; the kinds alternate. One more round runs first and isn't counted."""
OPSET = "17"
BARE = "bare script, exported fp32"
FP32, FP32_NONE = "function, fp32, golden check", "function, fp32, --self-test none"
INT8, INT8_NONE = "function, int8, golden check", "function, int8, --self-test none"
WALL_BARS = {FP32: 0.9, FP32_NONE: 0.8, INT8: 0.65, INT8_NONE: 0.6}
"""Maximum allowed ratio of each function's start time to the minimal script's (elapsed time)."""
FP32_MEMORY_BAR = 0.75
"""Maximum allowed ratio of the fp32 function's PSS to the minimal script's RSS."""
INT8_MEMORY_BAR_MB = 130.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """The models and the image that the benchmark uses.

    Attributes:
        exported: The fp32 model that tf2onnx wrote, with its weights in the same file.
        fp32: Directory of the artifact with precision fp32.
        int8: Directory of the artifact with precision int8.
        image: JPEG that is sent.
    """

    exported: Path
    fp32: Path
    int8: Path
    image: Path


def main() -> None:
    """Measure the start and the memory of the minimal script and of functions, and print both tables."""
    with tempfile.TemporaryDirectory() as folder:
        material = open_material(Path(folder))
        if material is None:
            print("\nfunction_start: set EAVES_BENCH_RUN to a run, or the variables that bench/function/start.py names")
            return
        found = measure(material)
    print_columns(f"cold start, exec to the first prediction over HTTP, {ROUNDS} rounds", *start_table(found))
    print_columns("memory after the first prediction, medians", *memory_table(found))


def open_material(folder: Path) -> Material | None:
    """Return the models and the image that the environment variables name.

    Missing models are made in `folder` from the run that EAVES_BENCH_RUN names. Return None when neither the models nor
    a run is named.
    """
    named = {
        name: os.environ.get(f"EAVES_BENCH_{name}", "") for name in ("RUN", "EXPORTED", "ARTIFACT", "INT8", "IMAGE")
    }
    if not named["RUN"] and not (named["EXPORTED"] and named["ARTIFACT"] and named["INT8"]):
        return None
    run = Path(named["RUN"]).absolute()
    fp32 = Path(named["ARTIFACT"] or _convert(run, folder / "fp32/artifact", "fp32")).absolute()
    pictures = sorted(fp32.glob("golden/*.jpg"), key=lambda path: path.stat().st_size)
    return Material(
        exported=Path(named["EXPORTED"] or _export(run, folder / "exported.onnx")).absolute(),
        fp32=fp32,
        int8=Path(named["INT8"] or _convert(run, folder / "int8/artifact", "int8")).absolute(),
        image=Path(named["IMAGE"] or pictures[-1]).absolute(),
    )


def measure(material: Material, *, rounds: int = ROUNDS) -> dict[str, list[Start]]:
    """Measure starts of a minimal script, and of functions with fp32 and int8 models.

    Return the measurements of all starts by kind: the script, and each model with and without a self-test.
    """
    image = Message(body=material.image.read_bytes())

    def function(artifact: Path, self_test: str) -> Callable[[], Start]:
        def measured() -> Start:
            port = find_port()
            environ = function_environment(artifact, port, EAVES_SELF_TEST=self_test)
            return measure_start(FUNCTION, environ, port, image)

        return measured

    kinds: Mapping[str, Callable[[], Start]] = {
        BARE: lambda: measure_bare(material.exported, material.image),
        FP32: function(material.fp32, "first"),
        FP32_NONE: function(material.fp32, "none"),
        INT8: function(material.int8, "first"),
        INT8_NONE: function(material.int8, "none"),
    }
    found: dict[str, list[Start]] = {name: [] for name in kinds}
    for number in range(rounds + 1):
        print(f"cold starts: round {number} of {rounds}", file=sys.stderr)
        for name, once in kinds.items():
            start = once()
            if number:
                found[name].append(start)
    return found


def start_table(found: Mapping[str, Sequence[Start]]) -> tuple[list[str], list[list[str]]]:
    """Return the headings and rows of the table of start times."""
    rows = []
    bare = [one.wall_ms for one in found[BARE]]
    for name, starts in found.items():
        wall, cpu = [one.wall_ms for one in starts], [one.cpu_ms for one in starts]
        numbers = [statistics.median(wall), min(wall), statistics.median(cpu), min(cpu)]
        ratios = [statistics.median(wall) / statistics.median(bare), min(wall) / min(bare)]
        bar = str(WALL_BARS.get(name, ""))
        rows.append([name, *(f"{value:.0f}" for value in numbers), *(f"{ratio:.2f}" for ratio in ratios), bar])
    return ["", "wall ms", "minimum", "CPU ms", "minimum", "of bare", "of minima", "bar"], rows


def memory_table(found: Mapping[str, Sequence[Start]]) -> tuple[list[str], list[list[str]]]:
    """Return the headings and rows of the table of memory use."""
    rows = []
    bare = statistics.median(one.resident_mb for one in found[BARE])
    for name in (BARE, FP32, INT8):
        pss = statistics.median(one.proportional_mb for one in found[name])
        rss = statistics.median(one.resident_mb for one in found[name])
        bar = {FP32: f"{FP32_MEMORY_BAR}", INT8: f"{INT8_MEMORY_BAR_MB:.0f} MB"}.get(name, "")
        rows.append([name, f"{pss:.0f}", f"{rss:.0f}", f"{pss / bare:.2f}", bar])
    return ["", "PSS MB", "RSS MB", "PSS of bare RSS", "bar"], rows


def _export(run: Path, output: Path) -> Path:
    words = ["--saved-model", str(run / "model"), "--output", str(output), "--opset", OPSET]
    print("exporting as tf2onnx does it by itself", file=sys.stderr)
    run_measured([sys.executable, "-P", "-m", "tf2onnx.convert", *words])
    return output


def _convert(run: Path, output: Path, precision: str) -> Path:
    print(f"converting {run.name} to {precision}", file=sys.stderr)
    run_measured(
        [sys.executable, "-P", "-m", "converters", str(run), "--output", str(output), "--precision", precision]
    )
    return output


if __name__ == "__main__":
    main()
