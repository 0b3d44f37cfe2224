"""Converts TensorFlow models to ONNX in a child process.

tensorflow_export   the conversion by tf2onnx
tensorflow_model    opens a model of any format as one concrete function
weightless_graph    the graph to convert, separated from its large weights
"""
