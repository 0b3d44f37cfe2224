"""Opens a TensorFlow model of any format as one concrete function, in a child process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from eaves.errors import ConversionError


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedModel:
    """A model that is opened in TensorFlow.

    Attributes:
        function: Concrete function of the model.
        names: Name of the input and of every output by the name of its tensor.
        dtype: NumPy type of the input.
        call: Function from a batch to the outputs by name.
        keep: Loaded object, which keeps the variables alive.
    """

    function: Any
    names: Mapping[str, str]
    dtype: Any
    call: Callable[[Any], Mapping[str, Any]]
    keep: Any


def open_model(job: Mapping[str, Any]) -> OpenedModel:
    """Load a SavedModel or a Keras file.

    Args:
        job: Result of `ModelSource.job`.

    Raises:
        ConversionError: The signature doesn't exist, the model doesn't take exactly one input of images, or a layer
            holds code.
    """
    import tensorflow as tf

    keras = job["route"] == "keras"
    function, keep = _open_keras(job) if keras else _open_saved_model(job)
    captured = {tensor.name for tensor in function.graph.internal_captures}
    inputs = [tensor for tensor in function.inputs if tensor.name not in captured]
    specs = tf.nest.flatten(function.structured_input_signature)
    if len(inputs) != 1:
        found = ", ".join(spec.name for spec in specs) or "none"
        raise ConversionError(f"the model must have one input, the images; it has {found}")
    name = str(specs[0].name)
    outputs = dict(zip([tensor.name for tensor in function.outputs], sorted(function.structured_outputs), strict=True))

    def call(batch: Any) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = function(tf.constant(batch)) if keras else function(**{name: tf.constant(batch)})
        return {key: tensor.numpy() for key, tensor in answer.items()}

    return OpenedModel(
        function=function,
        names={inputs[0].name: name, **outputs},
        dtype=inputs[0].dtype.as_numpy_dtype,
        call=call,
        keep=keep,
    )


def _open_saved_model(job: Mapping[str, Any]) -> tuple[Any, Any]:
    import tensorflow as tf

    loaded = tf.saved_model.load(job["model"], tags=["serve"])
    if job["signature"] not in loaded.signatures:
        found = ", ".join(sorted(loaded.signatures)) or "none"
        raise ConversionError(
            f"the SavedModel has no signature {job['signature']}; it has {found}",
            hint="declare an existing one as `signature`, or save the model again with a signature",
        )
    return loaded.signatures[job["signature"]], loaded


def _open_keras(job: Mapping[str, Any]) -> tuple[Any, Any]:
    import keras
    import tensorflow as tf

    try:
        model = keras.saving.load_model(job["model"], compile=False, safe_mode=True)
    # Keras raises ValueError, TypeError and its own exceptions, and a broken zip raises others
    except Exception as error:
        reason = str(error)
        if "lambda" in reason.lower() or "safe_mode" in reason:
            reason = "a layer holds Python code (a Lambda), which Eaves never runs"
        raise ConversionError(
            f"Keras can't open the file: {reason[:300]}",
            hint="on a machine that has the model's code, write a SavedModel with `model.export(FOLDER)`, and "
            "convert that folder",
        ) from error
    inputs = getattr(model, "inputs", None) or []  # a subclass of Model may not know its inputs
    if len(inputs) != 1 or len(inputs[0].shape) != 4:
        found = ", ".join(str(tuple(tensor.shape)) for tensor in inputs) or "inputs that it does not name"
        raise ConversionError(
            f"the model must take one batch of images (batch, height, width, 3); it takes {found}",
            hint="build a model with one input, such as `keras.Model(images, model([images, constant]))`"
            if len(inputs) > 1
            else "build the model with `keras.Input`, or save it with `model.export(FOLDER)` and convert that folder",
        )
    (given,) = inputs
    # a Sequential has one output and doesn't name it
    named = getattr(model, "output_names", None) or [model.layers[-1].name]
    outputs = [name.split("/")[-1] for name in named]

    def serve(image: Any) -> dict[str, Any]:
        answer = model(image, training=False)
        if isinstance(answer, dict):
            return answer
        flat = answer if isinstance(answer, list | tuple) else [answer]
        return dict(zip(outputs, flat, strict=True))

    # The declared size, where the model takes any.
    sizes = (job["recipe"]["height"], job["recipe"]["width"])
    declared = (3, *sizes) if job["interface"]["layout"] == "NCHW" else (*sizes, 3)
    shape = (None, *(own or other for own, other in zip(given.shape[1:], declared, strict=True)))
    spec = tf.TensorSpec(shape, given.dtype, name=given.name)
    return tf.function(serve).get_concrete_function(spec), model
