"""Lists the benchmarks: the parts of docs/benchmarks.md, and programs that only print tables."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from bench.material import Setup
from bench.report.section import Section


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of the benchmark, with a section on the page.

    Attributes:
        name: Name for `BENCH=`.
        title: Heading of the section.
        text: Sentences that begin the section: what is measured and what it is compared with.
        measure: Module and function, as `MODULE:FUNCTION`; the function takes a `Setup` and returns a `Section`.
        needs_model: Whether the part measures the models of `bench.material`.
        has_bars: Whether the part has figures with bars, so that the summary names it even when it was not measured.
    """

    name: str
    title: str
    text: str
    measure: str
    needs_model: bool = True
    has_bars: bool = True

    def load(self) -> Callable[[Setup], Section]:
        """Import the module of the part, and return the function that measures it."""
        module, _, function = self.measure.partition(":")
        return cast(Callable[[Setup], Section], getattr(importlib.import_module(module), function))


PARTS = (
    Part(
        name="one_at_a_time",
        title="One image at a time",
        text=(
            "One client sends a JPEG, waits for the prediction, and sends the next one, as a camera does. The "
            "floor decodes, resizes and runs the same JPEG in a process without HTTP, with the best number of "
            "threads. All servers run at the same time and take turns; each has the threads that its users "
            "have by default."
        ),
        measure="bench.function.one_at_a_time:measure",
    ),
    Part(
        name="many_connections",
        title="Many connections",
        text=(
            "Eight connections send a JPEG each and send the next one as soon as the prediction arrives. The "
            "floor is the best loop without HTTP: one or more callers, each with one thread or all of them."
        ),
        measure="bench.function.many_connections:measure",
    ),
    Part(
        name="process_start",
        title="Start of a process, and memory",
        text=(
            "The time from exec to the first prediction over HTTP, and the memory after it, of a function in "
            "this project's virtual environment, which reproduces a golden image first. The bare script "
            "(bench/function/bare.py) opens the ONNX model that tf2onnx exports and predicts an image without a server."
            " The bars of the start were set for Inception V3."
        ),
        measure="bench.function.start:measure_section",
    ),
    Part(
        name="container_start",
        title="Start in the container",
        text=(
            "The time from exec to the first prediction over HTTP in an unpacked container image, read-only and as "
            "its user. `eaves package` makes the container image. The bare script runs in the same root, with the "
            "same packages and byte code. The root's files are in the page cache, or are dropped from it before each "
            "start, as after a pull. The bars beside the bare script were set for Inception V3."
        ),
        measure="bench.function.container:measure_section",
    ),
    Part(
        name="knative",
        title="Cold start through Knative",
        text=(
            "The time from a request to a function that has no replica to its answer, by phase, in turn with a "
            "trivial server."
        ),
        measure="bench.sections:knative",
    ),
    Part(
        name="servers",
        title="Other servers: start, memory, large and damaged images",
        text="The same fp32 models behind other servers, each set up as its documentation describes.",
        measure="bench.servers.comparison:measure",
        has_bars=False,
    ),
    Part(
        name="training",
        title="Training",
        text=(
            "The share of the time in which the network waits for its input, the images per second, and the share "
            "of the CPUs' time that the training uses, with photos of 12 megapixels and small ones."
        ),
        measure="bench.sections:training",
        needs_model=False,
        has_bars=False,
    ),
    Part(
        name="local_platform",
        title="The local platform",
        text=(
            "The broker, the activator, the queue and the disk are the real ones, and the function answers "
            "202 at once, so the figures are the cost of the platform alone."
        ),
        measure="bench.local.section:measure",
        needs_model=False,
    ),
    Part(
        name="console",
        title="The console",
        text=(
            "The platform is a real `eaves up` whose function answers each image with a prediction at once, so the "
            "figures are the cost of the console alone. Ten images a second arrive. Most of the open pages are plain "
            "connections that read their stream, and one is a real Chromium with the first screen; all run on the "
            "machine that is measured, so their own CPU time counts against the platform."
        ),
        measure="bench.console.section:measure",
        needs_model=False,
    ),
    Part(
        name="camera",
        title="Cameras",
        text=(
            "Four cameras send 1080p H.264 with 25 frames and one key frame a second, 3 Mbit/s, from a real RTSP "
            "server (GStreamer's). The agent takes the key frames. Debian's ffmpeg does the same work as a child, "
            "with the options that make it fastest, and scripts do it with PyAV alone; all take turns. The time from "
            "capture to prediction is that of a whole local platform with the int8 model; the camera's own encoder is"
            " not in it."
        ),
        measure="bench.camera.section:measure",
    ),
    Part(
        name="frames",
        title="Large frames",
        text=(
            "The CPU time of turning a camera's frame into the model's input, beside Pillow's full decode and resize."
        ),
        measure="bench.function.frames:measure",
    ),
    Part(
        name="package",
        title="Container image and updates",
        text=(
            "The size of the packages in every function's container image, and the cost of an update that has "
            "a new head. The bars of the bytes sent were set for Inception V3."
        ),
        measure="bench.package:measure_section",
    ),
)
"""Parts in the order of the page; adding one is adding an entry here."""

PRINTED = {
    "spool": "spool",
    "training_steps": "model.training",
    "architectures": "model.architectures",
    "sites": "sites",
    "camera_one_core": "camera.one_core",
    "camera_outages": "camera.outages",
    "camera_reconnects": "camera.reconnects",
    "int8_gate": "model.int8_gate",
}
"""Name of each benchmark that only prints, as given on the command line, and its module below `bench`."""
