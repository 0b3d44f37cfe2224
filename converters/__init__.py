"""Conversion: a model in, an artifact out, proven equal on the way. `python -m converters MODEL --output ARTIFACT`.

    run, SavedModel, .keras, .onnx > source > export > graph > external data > session > parity, goldens > artifact

TensorFlow is only ever loaded in child processes (`exporter`, `oracle`), so their memory is gone before the next step
and the converted bytes don't depend on what this process did before. The ONNX side of every comparison is
`functions.session`, the very session that serves.
"""
