"""TensorFlow > ONNX, in a child process.

tensorflow_export   the conversion, by tf2onnx
tensorflow_model    a model opened as one concrete function, whatever it was saved as
weightless_graph    the graph to convert, and its large weights apart
"""
