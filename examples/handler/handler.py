"""Handler for frames of a thermal camera, raw 16-bit values in hundredths of a kelvin, and a model for RGB images.

A handler may import only what a function's container image has (numpy, Pillow, `eaves.errors`, `eaves.images`,
`eaves.recipe`). Several threads call it at the same time.
"""

from __future__ import annotations

import numpy as np

from eaves.errors import InputError

SIDE = 8
COLDEST, HOTTEST = 27_315, 37_315  # 0 to 100 degrees Celsius

content_types = ("application/octet-stream", "application/x-thermal")


def preprocess(data: bytes) -> np.ndarray:
    """Convert one frame to the graph's input: uint8 (SIDE, SIDE, 3)."""
    if len(data) != 2 * SIDE * SIDE:
        raise InputError(
            f"a frame has {2 * SIDE * SIDE} bytes, not {len(data)}"
        )  # the sender gets this with status 400
    kelvin = np.frombuffer(data, "<u2").reshape(SIDE, SIDE).astype(np.float32)
    warmth = np.clip((kelvin - COLDEST) / (HOTTEST - COLDEST) * 255, 0, 255).astype(np.uint8)
    return np.stack([warmth, np.full_like(warmth, 60), 255 - warmth], axis=2)


def postprocess(outputs: dict[str, np.ndarray]) -> dict[str, object]:
    """Return the reply's own members; `label` and `confidence` become attributes of the event, for filters."""
    blue, green, red = outputs["probabilities"]
    return {"label": "hot" if red > blue else "cold", "confidence": "high" if max(red, blue) > green else "low"}
