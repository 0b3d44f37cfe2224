"""Converts a model into an artifact, and proves that the model and the artifact give the same outputs.

`python -m converters MODEL --output ARTIFACT` converts one model.

    convert              the conversion, step by step;  tensor_conversion: for models that don't take images
    settings             settings of a conversion
    source/              the model to convert, and its declaration
    export               exports a source to an ONNX file with the interface of every artifact
    tensorflow/          exports TensorFlow models in a child process;  child_process: starts and watches it
    onnx/                adapts, folds, rewrites, names and writes graphs
    proof/               compares the original's outputs with those of the serving session
    int8/                chooses int8 or fp32 by measurements
    previous_artifacts   finds the parts of previous artifacts that an update can keep
    handlers             copies a user's handler.py into an artifact
    staging_directory    directory in which an artifact is built
    report_page          the result as an HTML page;  latency: measures opening and running times
    evaluation/, gate/   evaluates models; decides whether a model may be published

TensorFlow is only loaded in child processes, so that its memory is free before the next step and the converted bytes
don't depend on what this process did before. The ONNX side of every comparison is `eaves.inference.session`, the
session that serves. A conversion never executes code that an artifact or a foreign model carries.
"""
