"""The proof: the original and the artifact answer the same to the same encoded bytes.

parity                 what both answered, compared
reference_tensorflow   the answers of the framework that wrote the model
reference_onnx         the answers of an ONNX file as it came
reference_runner       a model asked as it is, with NumPy for what the converted graph does by itself
graph_predictions      what a graph answers to images, and how right that is
golden_images          which images travel with the artifact, and what it must answer to them
"""
