"""Conversion: a model in, an artifact out, proven equal on the way. `python -m converters MODEL --output ARTIFACT`.

    convert              the steps in their order;  tensor_conversion: for models that are not about images
    settings             what can be set
    source/              what is converted, and what its declaration says
    export               any source > an ONNX file with the interface of every artifact
    tensorflow/          TensorFlow > ONNX, in a child process;  child_process: what starts and watches it
    onnx/                graphs of others adapted; graphs folded, rewritten, named, and written
    proof/               the original's answers held against the serving session's
    int8/                int8 or fp32, by measuring
    previous_artifacts   what of them can stay, so that only what changed is shipped
    handlers             a user's handler.py on its way into an artifact
    staging_directory    where an artifact is made
    report_page          the conversion's result for people;  latency: how long opening and running take
    evaluation/, gate/   how good models are; whether one may be published

TensorFlow is only ever loaded in child processes, so its memory is gone before the next step and the converted bytes
don't depend on what this process did before. The ONNX side of every comparison is `eaves.inference.session`, the very
session that serves. It never executes what an artifact or a foreign model carries.
"""
