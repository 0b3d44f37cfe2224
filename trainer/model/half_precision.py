"""Lets a model multiply in float16 on devices with tensor cores; its weights and all saved files stay in float32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

TENSOR_CORES = (7, 0)
"""Compute capability from which a GPU has tensor cores.

Source: docs.nvidia.com/cuda, CUDA C++ Programming Guide, compute capabilities: tensor cores since 7.0.
"""


def has_tensor_cores() -> bool:
    """Return whether this process has GPUs and all of them have tensor cores; a CPU is slower in float16."""
    details = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
    return bool(details) and all(one.get("compute_capability", (0, 0)) >= TENSOR_CORES for one in details)


@contextmanager
def half_precision(model: Any, *, wanted: bool | None = None) -> Iterator[None]:
    """Let a model compute in float16 within the context; afterwards it computes in float32 again, as it is served.

    Args:
        model: A Keras model, computing in float32.
        wanted: Whether to use float16; None means only on a device with tensor cores.
    """
    if not (has_tensor_cores() if wanted is None else wanted):
        yield
        return
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    _set_policy(model, "mixed_float16")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
        _set_policy(model, "float32")


def _set_policy(model: Any, policy: str) -> None:
    for layer in model.layers:
        layer.dtype_policy = keras.dtype_policies.get(policy)
        if isinstance(layer, keras.Model):
            _set_policy(layer, policy)
