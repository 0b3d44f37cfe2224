"""Benchmark of decoding a frame into an input tensor, compared with Pillow's full decode and resize.

Both are measured as CPU time of one thread.
"""

from __future__ import annotations

import io
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.material import Setup
from bench.report.section import Figure, Section, Table
from eaves.recipe import Recipe

RECIPE = Recipe(height=299, width=299)
BAR = 0.25
"""Maximum allowed ratio of Eaves' CPU time to Pillow's, for a JPEG of 12 megapixels."""
RUNS, PHOTOS = 7, 4
SIZES = {"12 megapixels": (4000, 3000), "1080p": (1920, 1080), "a photo": (500, 375)}
ENCODINGS: dict[str, dict[str, Any]] = {
    "JPEG": {"format": "JPEG", "quality": 90},
    "JPEG, progressive": {"format": "JPEG", "quality": 90, "progressive": True},
    "PNG": {"format": "PNG", "compress_level": 1},
    "WebP": {"format": "WEBP", "quality": 90, "method": 0},
}


def measure(setup: Setup) -> Section:
    """Measure frames made from the model's golden photos, which are enlarged to the size of a camera's frame."""
    photos = sorted(setup.need_material().fp32.glob("golden/*.jpg"))[:PHOTOS]
    rows, figures = [], []
    for size_name, size in SIZES.items():
        for name, options in ENCODINGS.items():
            frames = [_frame(path, size, options) for path in photos]
            ours, floor = _compare(frames, setup.rounds(RUNS))
            bar = BAR if (size_name, name) == ("12 megapixels", "JPEG") else None
            text = f"{ours:.1f} ms of {floor:.1f} ms"
            figure = Figure(
                name=f"{size_name}, {name}, CPU time of Pillow's", value=ours / floor, bar=bar, measured=text
            )
            figures.append(figure)
            kilobytes = statistics.mean(map(len, frames)) / 1000
            cells = (f"{kilobytes:.0f}", f"{ours:.1f}", f"{floor:.1f}", figure.render_value())
            rows.append((f"{size_name}, {name}", *cells))
    heads = ("", "KB", "CPU ms", "Pillow, in full", "ratio")
    return Section(figures=tuple(figures), tables=(Table(heads=heads, rows=tuple(rows)),))


def _frame(path: Path, size: tuple[int, int], options: dict[str, Any]) -> bytes:
    """Return a photo as an encoded frame of a camera with the given resolution.

    The photo is enlarged, and sensor noise is added, because real frames have noise and are therefore large.
    """
    with Image.open(path) as photo:
        enlarged = np.asarray(photo.convert("RGB").resize(size, Image.Resampling.BICUBIC), np.int16)
    noise = np.random.default_rng(0).normal(0, 5, enlarged.shape).astype(np.int16)
    stream = io.BytesIO()
    Image.fromarray(np.clip(enlarged + noise, 0, 255).astype(np.uint8)).save(stream, **options)
    return stream.getvalue()


def _in_full(data: bytes) -> np.ndarray[Any, Any]:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB").resize((RECIPE.width, RECIPE.height), Image.Resampling.BILINEAR))


def _compare(frames: list[bytes], runs: int) -> tuple[float, float]:
    """Return the median CPU time per frame of Eaves and of Pillow, ms; both are measured alternately."""
    pairs = [(_cpu_ms(RECIPE.tensor, frame), _cpu_ms(_in_full, frame)) for _ in range(runs) for frame in frames]
    warm = pairs[len(frames) :]
    return statistics.median(ours for ours, _ in warm), statistics.median(floor for _, floor in warm)


def _cpu_ms(action: Callable[[bytes], object], data: bytes) -> float:
    start = time.thread_time()
    action(data)
    return (time.thread_time() - start) * 1000
