"""Converts a model into an artifact, and proves that the model and the artifact give the same outputs.

`python -m converters MODEL --output ARTIFACT` converts one model.

    convert              the conversion, step by step
    settings             settings of a conversion and of publishing
    model_source         the model to convert;  declaration: `model.yaml`;  untrusted_onnx: checks a foreign ONNX file
    tensorflow_export    exports TensorFlow models, in the child process of reference_process
    onnx/                adapts, folds, rewrites, names and writes graphs
    proof                compares the original's outputs, by reference_process, with those of the serving session
    int8/                chooses int8 or fp32 by measurements
    staging              directory in which an artifact is built, golden cases, manifest; what earlier artifacts give
    evaluation/          evaluates models on labelled images
    gate                 decides whether a model is good enough
    publication_check    with which models it is compared before it is published;  deployment_check: before a deployment

TensorFlow is only loaded in child processes, so that its memory is free before the next step and the converted bytes
don't depend on what this process did before. The ONNX side of every comparison is `eaves.inference.session`, the
session that serves. A conversion never executes code that an artifact or a foreign model carries.
"""
