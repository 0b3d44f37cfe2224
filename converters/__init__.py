"""Conversion: a run in, an artifact out, proven equal on the way. `python -m converters RUN --output ARTIFACT`.

    run/model (SavedModel) > tf2onnx in a child process > graph > external data > session > parity, goldens > artifact

TensorFlow is only ever loaded in child processes (`export`, `oracle`), so their memory is gone before the next step
and the converted bytes don't depend on what this process did before. The ONNX side of every comparison is
`functions.session`, the very session that serves.
"""
