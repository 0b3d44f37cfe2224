"""Benchmark of one prediction through the local platform, compared with running the model in this process.

It measures the prediction by a function that runs already (warm), and by one that has to be deployed and started first
(from zero).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from bench.measure.timing import median_ms, print_table
from eaves.artifact import Artifact, open_artifact
from eaves.inference.session import open_session
from eaves.local.client import LocalPlatform
from eaves.local.specs import LocalApp, LocalFunction
from eaves.platform import ScaleSettings, default_trigger
from eaves.sources.files import capture_file


def main() -> None:
    """Measure predictions with the artifact that EAVES_BENCH_ARTIFACT names (default: the newest of `make demo`)."""
    made = sorted(Path("build/demo/artifacts").glob("*/manifest.json"))
    chosen = os.environ.get("EAVES_BENCH_ARTIFACT") or (str(made[-1].parent) if made else "")
    if not chosen:
        print("\nsend: no artifact; run `make demo` first, or set EAVES_BENCH_ARTIFACT")
        return
    artifact = open_artifact(Path(chosen).absolute())
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state"
        up = subprocess.Popen(
            [sys.executable, "-P", "-m", "eaves.cli", "up", "--port", "0", "--state", str(state)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _measure(artifact, LocalPlatform(state), folder)
        finally:
            up.terminate()
            up.wait()


def _measure(artifact: Artifact, platform: LocalPlatform, state: str) -> None:
    while not platform.running():
        continue
    image = next(path for path in sorted((artifact.path / "golden").iterdir()) if path.suffix != ".json")
    event = capture_file(image, site="bench")
    function = LocalFunction(name="bench", site="bench", artifact=artifact.path, scale=ScaleSettings(idle_s=600))
    app = LocalApp(function=function, triggers=(default_trigger("bench"),))

    def from_zero() -> None:
        platform.deploy(app)
        platform.invoke("bench", event)
        platform.remove("bench")

    session, recipe = open_session(artifact), artifact.manifest.image_recipe
    floor = median_ms(lambda: session.run(recipe.tensor(event.data)[np.newaxis]), runs=30, warmup=3)
    platform.deploy(app)
    warm = median_ms(lambda: platform.invoke("bench", event), runs=30, warmup=3)
    eaves = [str(Path(sys.executable).with_name("eaves")), "send", str(image), "--state", f"{state}/state"]
    command = median_ms(lambda: subprocess.run(eaves, check=True, capture_output=True), runs=10)
    platform.remove("bench")
    zero = median_ms(from_zero, runs=7)
    rows = [
        ("one event, warm (floor: decode, resize, run)", warm, floor),
        ("`eaves send`, warm, the whole command", command, floor),
        ("one event, from zero", zero, floor),
    ]
    print_table(f"send, {artifact.manifest.name} {artifact.manifest.image_recipe.width} px", rows)
