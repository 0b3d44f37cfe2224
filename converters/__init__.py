"""Conversion: a model in, an artifact out, proven equal on the way. `python -m converters MODEL --output ARTIFACT`.

    source        what is converted            export, exporter, skeleton, framework: TensorFlow > ONNX in a child
    declaration   what others' models need     foreign, adapter, interface: an ONNX file > our interface
    prepare       fold, rewrite, name          optimiser, rewrite, graph
    oracle        the original's answers       original, witness: in a child process; parity: held against the session's
    precision     int8 or fp32, by measuring   labelled, held_out, calibration, equaliser, quantiser, judge, sensitivity
    convert       the steps in their order     previous, goldens, variants, licences, page, stopwatch

TensorFlow is only ever loaded in child processes, so its memory is gone before the next step and the converted bytes
don't depend on what this process did before. The ONNX side of every comparison is `functions.session`, the very session
that serves. It never executes what an artifact or a foreign model carries.
"""
