"""Handler that lets a model for RGB images predict on frames of a thermal camera.

A handler is a module of your own that a function calls before and after its model. A frame has raw 16-bit values in
hundredths of a kelvin. A handler may import only what a function's container image has (numpy, Pillow, `eaves.errors`,
`eaves.images`, `eaves.recipe`). Several threads call it at the same time.
"""

from __future__ import annotations

import numpy as np

from eaves.errors import InputError

SIDE = 8
COLDEST, HOTTEST = 27_315, 37_315  # 0 to 100 degrees Celsius

content_types = ("application/octet-stream", "application/x-thermal")


def preprocess(data: bytes) -> np.ndarray:
    """Convert the bytes of one frame to the model's input: uint8 (SIDE, SIDE, 3), RGB; warm pixels are red."""
    if len(data) != 2 * SIDE * SIDE:
        raise InputError(
            f"a frame has {2 * SIDE * SIDE} bytes, not {len(data)}"
        )  # the sender gets this with status 400
    kelvin = np.frombuffer(data, "<u2").reshape(SIDE, SIDE).astype(np.float32)
    warmth = np.clip((kelvin - COLDEST) / (HOTTEST - COLDEST) * 255, 0, 255).astype(np.uint8)
    return np.stack([warmth, np.full_like(warmth, 60), 255 - warmth], axis=2)


def postprocess(outputs: dict[str, np.ndarray]) -> dict[str, object]:
    """Return the values to put into the reply's data.

    `label` and `confidence` also become attributes of the event, so that a trigger can filter by them.
    """
    blue, green, red = outputs["probabilities"]
    return {"label": "hot" if red > blue else "cold", "confidence": "high" if max(red, blue) > green else "low"}
